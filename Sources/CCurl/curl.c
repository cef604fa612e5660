#include "CCurl.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

// libcurl's stable ABI: option numbers are the type's base plus the option's own number (curl/curl.h).
enum {
    TYPE_LONG = 0,
    TYPE_POINTER = 10000,
    TYPE_FUNCTION = 20000,
    OPTION_WRITE_DATA = TYPE_POINTER + 1,
    OPTION_URL = TYPE_POINTER + 2,
    OPTION_PROXY = TYPE_POINTER + 4,
    OPTION_ERROR_BUFFER = TYPE_POINTER + 10,
    OPTION_WRITE_FUNCTION = TYPE_FUNCTION + 11,
    OPTION_USER_AGENT = TYPE_POINTER + 18,
    OPTION_NO_PROGRESS = TYPE_LONG + 43,
    OPTION_FOLLOW_LOCATION = TYPE_LONG + 52,
    OPTION_PROGRESS_DATA = TYPE_POINTER + 57,
    OPTION_NO_SIGNAL = TYPE_LONG + 99,
    OPTION_TIMEOUT_MS = TYPE_LONG + 155,
    OPTION_CONNECT_TIMEOUT_MS = TYPE_LONG + 156,
    OPTION_PROTOCOLS = TYPE_LONG + 181,
    OPTION_RESOLVE = TYPE_POINTER + 203,
    OPTION_PROGRESS_FUNCTION = TYPE_FUNCTION + 219,
    INFO_STRING = 0x100000,
    INFO_LONG = 0x200000,
    INFO_RESPONSE_CODE = INFO_LONG + 2,
    INFO_REDIRECT_URL = INFO_STRING + 31,
    INFO_PRIMARY_IP = INFO_STRING + 32,
    PROTOCOL_HTTP_HTTPS = 1 | 2,
    CODE_OK = 0,
    CODE_WRITE_ERROR = 23,
    CODE_TIMED_OUT = 28,
    CODE_ABORTED = 42,
    GLOBAL_ALL = 3,
};

typedef struct curl_slist curl_slist;

struct ccurl_library {
    int (*global_init)(long flags);
    void *(*easy_init)(void);
    int (*easy_setopt)(void *handle, int option, ...);
    int (*easy_perform)(void *handle);
    int (*easy_getinfo)(void *handle, int info, ...);
    void (*easy_cleanup)(void *handle);
    const char *(*easy_strerror)(int code);
    curl_slist *(*slist_append)(curl_slist *list, const char *text);
    void (*slist_free_all)(curl_slist *list);
};

static void *open_first(void) {
    static const char *const names[] = {
        "libcurl.so.4", "libcurl-gnutls.so.4", "libcurl-nss.so.4", "libcurl.so", "libcurl.4.dylib", "/usr/lib/libcurl.4.dylib",
    };
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof names / sizeof *names; i++) library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

const ccurl_library *ccurl_open(char *message) {
    void *library = open_first();
    if (!library) {
        snprintf(message, CCURL_MESSAGE_SIZE, "libcurl is not installed");
        return NULL;
    }
    ccurl_library table;
    const struct {
        const char *name;
        void *slot;
    } symbols[] = {
        {"curl_global_init", &table.global_init},   {"curl_easy_init", &table.easy_init},
        {"curl_easy_setopt", &table.easy_setopt},   {"curl_easy_perform", &table.easy_perform},
        {"curl_easy_getinfo", &table.easy_getinfo}, {"curl_easy_cleanup", &table.easy_cleanup},
        {"curl_easy_strerror", &table.easy_strerror}, {"curl_slist_append", &table.slist_append},
        {"curl_slist_free_all", &table.slist_free_all},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *address = dlsym(library, symbols[i].name);
        if (!address) {
            snprintf(message, CCURL_MESSAGE_SIZE, "the installed libcurl lacks %s", symbols[i].name);
            return NULL;
        }
        memcpy(symbols[i].slot, &address, sizeof address);
    }
    ccurl_library *kept = malloc(sizeof *kept);
    if (!kept || table.global_init(GLOBAL_ALL) != CODE_OK) {
        snprintf(message, CCURL_MESSAGE_SIZE, "libcurl could not start");
        free(kept);
        return NULL;
    }
    *kept = table;
    return kept;
}

static size_t write_body(char *bytes, size_t size, size_t count, void *data) {
    const ccurl_request *request = data;
    return request->write((const uint8_t *)bytes, size * count, request->context);
}

static int watch(void *data, int64_t total, int64_t now, int64_t upload_total, int64_t upload_now) {
    (void)total, (void)now, (void)upload_total, (void)upload_now;
    const ccurl_request *request = data;
    return request->should_stop(request->context);
}

static void read_answer(const ccurl_library *curl, void *handle, ccurl_response *response) {
    curl->easy_getinfo(handle, INFO_RESPONSE_CODE, &response->http_status);
    const char *text = NULL;
    if (curl->easy_getinfo(handle, INFO_PRIMARY_IP, &text) == CODE_OK && text) {
        snprintf(response->address, sizeof response->address, "%s", text);
    }
    text = NULL;
    if (curl->easy_getinfo(handle, INFO_REDIRECT_URL, &text) == CODE_OK && text) response->redirect = strdup(text);
}

// TLS libraries write to sockets without MSG_NOSIGNAL, and CURLOPT_NOSIGNAL leaves SIGPIPE to the program; it stays blocked in
// this thread meanwhile, and one that came is taken away, so that a server that hangs up cannot end the process.
static int perform_without_signal(const ccurl_library *curl, void *handle) {
    sigset_t pipe_only, before, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    int was_pending = sigismember(&pending, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    int code = curl->easy_perform(handle);
    sigpending(&pending);
    int signal_number;
    if (!was_pending && sigismember(&pending, SIGPIPE)) sigwait(&pipe_only, &signal_number);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

void ccurl_perform(const ccurl_library *curl, const ccurl_request *request, ccurl_response *response) {
    memset(response, 0, sizeof *response);
    response->status = CCURL_FAILED;
    void *handle = curl->easy_init();
    curl_slist *resolve = request->resolve ? curl->slist_append(NULL, request->resolve) : NULL;
    if (!handle || (request->resolve && !resolve)) {
        snprintf(response->message, sizeof response->message, "libcurl could not start a request");
        if (handle) curl->easy_cleanup(handle);
        if (resolve) curl->slist_free_all(resolve);
        return;
    }
    char error[CCURL_MESSAGE_SIZE] = {0};
    int code = CODE_OK;
    code |= curl->easy_setopt(handle, OPTION_ERROR_BUFFER, error);
    code |= curl->easy_setopt(handle, OPTION_URL, request->url);
    if (resolve) code |= curl->easy_setopt(handle, OPTION_RESOLVE, resolve);
    code |= curl->easy_setopt(handle, OPTION_PROXY, "");  // also none from the environment: a proxy would resolve again
    code |= curl->easy_setopt(handle, OPTION_PROTOCOLS, (long)PROTOCOL_HTTP_HTTPS);
    code |= curl->easy_setopt(handle, OPTION_FOLLOW_LOCATION, 0L);
    code |= curl->easy_setopt(handle, OPTION_NO_SIGNAL, 1L);
    code |= curl->easy_setopt(handle, OPTION_TIMEOUT_MS, request->timeout_milliseconds);
    code |= curl->easy_setopt(handle, OPTION_CONNECT_TIMEOUT_MS, request->timeout_milliseconds);
    code |= curl->easy_setopt(handle, OPTION_USER_AGENT, "swift-vlm");
    code |= curl->easy_setopt(handle, OPTION_WRITE_FUNCTION, write_body);
    code |= curl->easy_setopt(handle, OPTION_WRITE_DATA, request);
    code |= curl->easy_setopt(handle, OPTION_NO_PROGRESS, 0L);
    code |= curl->easy_setopt(handle, OPTION_PROGRESS_FUNCTION, watch);
    code |= curl->easy_setopt(handle, OPTION_PROGRESS_DATA, request);
    if (code != CODE_OK) {
        snprintf(response->message, sizeof response->message, "the installed libcurl is too old");
    } else {
        code = perform_without_signal(curl, handle);
        read_answer(curl, handle, response);
        switch (code) {
        case CODE_OK: response->status = CCURL_OK; break;
        case CODE_TIMED_OUT: response->status = CCURL_TIMED_OUT; break;
        case CODE_WRITE_ERROR:
        case CODE_ABORTED: response->status = CCURL_ABORTED; break;
        default: break;
        }
        snprintf(response->message, sizeof response->message, "%s", error[0] ? error : curl->easy_strerror(code));
    }
    curl->easy_cleanup(handle);
    if (resolve) curl->slist_free_all(resolve);
}

void ccurl_free(char *text) { free(text); }

int ccurl_resolve(const char *host, ccurl_address *addresses, int capacity, char *message) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    int code = getaddrinfo(host, NULL, &hints, &list);
    if (code != 0) {
        snprintf(message, CCURL_MESSAGE_SIZE, "%s", gai_strerror(code));
        return -1;
    }
    int count = 0;
    for (struct addrinfo *entry = list; entry && count < capacity; entry = entry->ai_next) {
        ccurl_address *address = &addresses[count];
        memset(address, 0, sizeof *address);
        const void *bytes;
        if (entry->ai_family == AF_INET) {
            bytes = &((struct sockaddr_in *)entry->ai_addr)->sin_addr;
            address->count = 4;
        } else if (entry->ai_family == AF_INET6) {
            bytes = &((struct sockaddr_in6 *)entry->ai_addr)->sin6_addr;
            address->count = 16;
        } else {
            continue;
        }
        memcpy(address->bytes, bytes, (size_t)address->count);
        inet_ntop(entry->ai_family, bytes, address->text, sizeof address->text);
        count++;
    }
    freeaddrinfo(list);
    return count;
}
