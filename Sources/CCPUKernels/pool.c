// A thread pool for kernels that run for microseconds.
//
// A job is published as one 64-bit word, `generation << 32 | units left`. Whoever wants a unit decrements the word with a
// compare-and-swap, so a thread that wakes late sees either a newer generation or no units left and touches nothing of the old
// job. The driving thread therefore never waits for a sleeping worker, only for units that someone has taken.
//
// Idle workers look for work for a short time, because in a forward pass the next operation is microseconds away, and then sleep on
// a condition variable.

#include "vlm_cpu.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

static inline void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/// How long a thread waits before it sleeps: longer than the serial gaps between operations, short enough that an idle process
/// uses no core. It spins at first and then offers its core to others between looks: on a busy machine the thread it waits for
/// may want that core.
static const double spin_seconds = 20e-6, yield_seconds = 100e-6;

typedef enum verdict { look_again, give_up } verdict;

/// Passes a little time between two looks at a word; `spins` counts looks and `started` is set at the first reading of the clock.
static verdict wait_briefly(unsigned spins, double *started) {
    if (spins < 64) {
        pause_briefly();
        return look_again;
    }
    double now = vlm_seconds();
    if (*started == 0) *started = now;
    if (now - *started > yield_seconds) return give_up;
    if (now - *started > spin_seconds) sched_yield();
    else for (int i = 0; i < 16; i++) pause_briefly();
    return look_again;
}

typedef struct worker {
    vlm_pool *pool;
    size_t index;
    pthread_t thread;
} worker;

struct vlm_pool {
    // The words that all threads write, each on its own cache line.
    _Alignas(64) _Atomic uint64_t job;
    _Alignas(64) _Atomic size_t finished;
    _Alignas(64) _Atomic int sleepers;
    _Atomic int driver_sleeps;
    _Atomic bool stopping;
    _Atomic bool running;

    // The job; written by the driver before `job` is published.
    _Alignas(64) vlm_task task;
    void *context;
    size_t count;
    uint32_t generation;

    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_cond_t done;
    size_t workers;
    worker *worker;
};

/// Takes and runs units of the job of `generation` until none is left; returns how many it ran.
static size_t work(vlm_pool *pool, uint32_t generation, size_t index) {
    size_t ran = 0;
    uint64_t job = atomic_load_explicit(&pool->job, memory_order_acquire);
    while ((uint32_t)(job >> 32) == generation && (uint32_t)job != 0) {
        if (!atomic_compare_exchange_weak_explicit(
                &pool->job, &job, job - 1, memory_order_acq_rel, memory_order_acquire))
            continue;
        pool->task(pool->context, pool->count - (uint32_t)job, index);
        ran++;
        job = atomic_load_explicit(&pool->job, memory_order_acquire);
    }
    return ran;
}

static void *worker_main(void *argument) {
    worker *self = argument;
    vlm_pool *pool = self->pool;
    uint32_t seen = 0;
    for (;;) {
        double started = 0;
        uint32_t generation;
        for (unsigned spins = 0;; spins++) {
            generation = (uint32_t)(atomic_load_explicit(&pool->job, memory_order_acquire) >> 32);
            if (generation != seen || atomic_load_explicit(&pool->stopping, memory_order_acquire)) break;
            if (wait_briefly(spins, &started) == look_again) continue;
            pthread_mutex_lock(&pool->mutex);
            // The driver publishes, then reads `sleepers`; this counts itself, then reads the job: one of them sees the other.
            atomic_fetch_add(&pool->sleepers, 1);
            while ((uint32_t)(atomic_load(&pool->job) >> 32) == seen && !atomic_load(&pool->stopping))
                pthread_cond_wait(&pool->wake, &pool->mutex);
            atomic_fetch_sub(&pool->sleepers, 1);
            pthread_mutex_unlock(&pool->mutex);
        }
        if (atomic_load_explicit(&pool->stopping, memory_order_acquire)) return NULL;
        seen = generation;
        size_t ran = work(pool, generation, self->index);
        if (ran == 0) continue;
        // Until this addition the driver waits, so the job's count is still the one that was worked on.
        size_t count = pool->count;
        if (atomic_fetch_add(&pool->finished, ran) + ran == count && atomic_load(&pool->driver_sleeps)) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->mutex);
        }
    }
}

static bool run_part(vlm_pool *pool, size_t count, vlm_task task, void *context) {
    pool->task = task;
    pool->context = context;
    pool->count = count;
    atomic_store_explicit(&pool->finished, 0, memory_order_relaxed);
    pool->generation++;
    atomic_store(&pool->job, ((uint64_t)pool->generation << 32) | (uint32_t)count);
    if (atomic_load(&pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mutex);
    }
    size_t ran = work(pool, pool->generation, 0);
    size_t finished = atomic_fetch_add(&pool->finished, ran) + ran;
    double started = 0;
    for (unsigned spins = 0; finished != count; spins++) {
        if (wait_briefly(spins, &started) == give_up) {
            // A worker holds a unit and is slow or was descheduled: leave it the core.
            pthread_mutex_lock(&pool->mutex);
            atomic_store(&pool->driver_sleeps, 1);
            while (atomic_load(&pool->finished) != count) pthread_cond_wait(&pool->done, &pool->mutex);
            atomic_store(&pool->driver_sleeps, 0);
            pthread_mutex_unlock(&pool->mutex);
        }
        finished = atomic_load_explicit(&pool->finished, memory_order_acquire);
    }
    return true;
}

bool vlm_pool_run(vlm_pool *pool, size_t count, vlm_task task, void *context) {
    if (atomic_exchange_explicit(&pool->running, true, memory_order_acquire)) return false;
    if (count == 1 || pool->workers == 0) {
        for (size_t index = 0; index < count; index++) task(context, index, 0);
    } else if (count > 0) {
        run_part(pool, count, task, context);
    }
    atomic_store_explicit(&pool->running, false, memory_order_release);
    return true;
}

vlm_pool *vlm_pool_create(int threads) {
    vlm_pool *pool = NULL;
    if (posix_memalign((void **)&pool, 64, sizeof *pool)) return NULL;
    *pool = (vlm_pool){0};
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    size_t workers = threads > 1 ? (size_t)threads - 1 : 0;
    pool->worker = calloc(workers ? workers : 1, sizeof *pool->worker);
    for (size_t i = 0; pool->worker && i < workers; i++) {
        pool->worker[i] = (worker){.pool = pool, .index = i + 1};
        if (pthread_create(&pool->worker[i].thread, NULL, worker_main, &pool->worker[i])) break;
        pool->workers++;
    }
    if (!pool->worker || pool->workers < workers) {
        vlm_pool_destroy(pool);
        return NULL;
    }
    return pool;
}

void vlm_pool_destroy(vlm_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->stopping, true);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (size_t i = 0; i < pool->workers; i++) pthread_join(pool->worker[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->worker);
    free(pool);
}
