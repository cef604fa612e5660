// The few functions of libcurl that fetching a picture takes, opened at run time: nothing of libcurl is needed to build.
#ifndef CCURL_H
#define CCURL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CCURL_MESSAGE_SIZE 256

/// libcurl, opened; opaque.
typedef struct ccurl_library ccurl_library;

/// Opens libcurl and initialises it; to be called once in a process, which keeps it. NULL if it is not installed or too old,
/// with the reason in `message` (CCURL_MESSAGE_SIZE bytes).
const ccurl_library *ccurl_open(char *message);

typedef enum {
    CCURL_OK = 0,
    CCURL_FAILED = 1,        // the message says why
    CCURL_TIMED_OUT = 2,
    CCURL_ABORTED = 3,       // a callback asked to stop
} ccurl_status;

/// One request, without redirects, proxies, cookies or credentials.
typedef struct {
    const char *url;            // http or https
    const char *resolve;        // "host:port:address[,address]": the only addresses to connect to; NULL if the host is one
    long timeout_milliseconds;  // for everything
    /// Takes a piece of the body; another number than `count` aborts.
    size_t (*write)(const uint8_t *bytes, size_t count, void *context);
    /// Asked now and then; anything but 0 aborts.
    int (*should_stop)(void *context);
    void *context;
} ccurl_request;

typedef struct {
    ccurl_status status;
    long http_status;
    char address[64];     // the peer that was connected to
    char *redirect;       // where a redirect leads, absolute; free with `ccurl_free`; NULL if none
    char message[CCURL_MESSAGE_SIZE];
} ccurl_response;

void ccurl_perform(const ccurl_library *library, const ccurl_request *request, ccurl_response *response);

void ccurl_free(char *text);

/// An internet address: 4 or 16 bytes in network order, and as text.
typedef struct {
    int count;
    uint8_t bytes[16];
    char text[64];
} ccurl_address;

/// Resolves a host name or a literal address. Returns how many addresses were written, or -1 with the reason in `message`.
int ccurl_resolve(const char *host, ccurl_address *addresses, int capacity, char *message);

#ifdef __cplusplus
}
#endif

#endif
