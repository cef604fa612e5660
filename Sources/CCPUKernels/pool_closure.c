// Runs a Swift closure on the pool.
//
// Swift hands a non-escaping closure to C only through a copy on the heap, one per call, and a forward pass makes hundreds
// of calls for each token. So this function speaks Swift's calling convention: a closure arrives as two words, its code and its
// context, which stay on the caller's stack. ThreadPool.swift declares it; no header does, because Swift would import the C form.

#include "vlm_cpu.h"

typedef void (*swift_body)(size_t unit, size_t worker, __attribute__((swift_context)) void *context)
    __attribute__((swiftcall));

typedef struct closure {
    swift_body body;
    void *context;
} closure;

static void call_closure(void *context, size_t index, size_t worker) {
    const closure *c = context;
    c->body(index, worker, c->context);
}

__attribute__((swiftcall)) bool vlm_pool_run_closure(vlm_pool *pool, size_t count, swift_body body, void *context);

__attribute__((swiftcall)) bool vlm_pool_run_closure(vlm_pool *pool, size_t count, swift_body body, void *context) {
    closure c = {body, context};
    return vlm_pool_run(pool, count, call_closure, &c);
}
