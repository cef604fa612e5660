// The driver of matrix multiplication: cuts a call into units for the thread pool and walks the blocks of each.
//
// Few rows (one tile): each unit is a run of whole panels, read front to back, so that every thread has one stream.
//
// Many rows: first all rows are rounded and laid out as tiles, then each unit multiplies a block of tiles by a group of panels.
// In a unit, K is cut into chunks: a chunk of one panel (24 KB) sits in the first-level cache while the tiles of the block pass by,
// and the block's rows of that chunk sit in the second level while the group's panels pass by. Units that share panels
// are neighbours, so threads at work on them find the weights in a shared cache.

#include "gemm_internal.h"

#include <stddef.h>

const vlm_gemm_kernels *vlm_gemm_kernels_for(vlm_isa isa) {
    switch (isa) {
#if defined(__x86_64__)
    case VLM_ISA_AVX2: return &vlm_gemm_avx2;
    case VLM_ISA_AVX512: return &vlm_gemm_avx512;
    case VLM_ISA_AVX512_BF16: return &vlm_gemm_avx512_bf16;
#elif defined(__aarch64__)
    case VLM_ISA_NEON: return &vlm_gemm_neon;
#endif
    default: return &vlm_gemm_scalar;
    }
}

vlm_gemm_kind vlm_gemm_bf16_kind(vlm_isa isa) {
    return isa == VLM_ISA_AVX512_BF16 ? VLM_GEMM_BF16_DOT : VLM_GEMM_BF16_WIDE;
}

size_t vlm_packed_bytes(bool bf16, size_t panels, size_t in_features) {
    size_t steps = bf16 ? (in_features + 1) / 2 : in_features;
    return panels * steps * VLM_PANEL * 4;
}

/// Most rows of a block: their rows of a chunk, 768 bytes each, take about a quarter of a second-level cache of 1 MB.
enum { block_rows = 288 };
/// Most panels of a group.
enum { group_panels = 4 };

/// How a call is cut.
typedef struct plan {
    const vlm_gemm_kernels *kernels;
    size_t tile_rows;  // rows of a tile
    size_t tiles;
    size_t tile_bytes;   // one tile of activations
    size_t steps;        // of K
    size_t chunks;       // of K
    size_t panels;       // of N
    size_t panel_bytes;  // one panel of weights
    size_t blocks;       // of tiles
    size_t groups;       // of panels
    size_t partial_floats;  // unfinished results of a worker
} plan;

static size_t ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }
static size_t part_start(size_t count, size_t parts, size_t part) { return count * part / parts; }

static plan make_plan(const vlm_linear_call *call, int threads) {
    plan p;
    p.kernels = vlm_gemm_kernels_for(call->isa);
    p.tile_rows = p.kernels->tile_rows < call->rows ? p.kernels->tile_rows : call->rows;
    p.tiles = ceil_div(call->rows, p.tile_rows);
    p.steps = call->kind == VLM_GEMM_F32 ? call->in_features : ceil_div(call->in_features, 2);
    p.chunks = ceil_div(p.steps, VLM_CHUNK);
    p.tile_bytes = p.chunks * p.tile_rows * VLM_CHUNK * (call->kind == VLM_GEMM_BF16_WIDE ? 8 : 4);
    p.panels = ceil_div(call->out_features, call->epilogue == VLM_EPILOGUE_GATED ? VLM_PANEL / 2 : VLM_PANEL);
    p.panel_bytes = p.steps * VLM_PANEL * 4;
    p.blocks = ceil_div(p.tiles * p.tile_rows, block_rows);
    size_t wanted_units = threads > 1 ? 8 * (size_t)threads : 1;
    if (p.tiles == 1) {
        // Pieces of at least 32 KB: handing one out costs about a tenth of a microsecond.
        size_t most = ceil_div(p.panels * p.panel_bytes, 32768);
        p.groups = wanted_units < most ? wanted_units : most;
        if (p.groups > p.panels) p.groups = p.panels;
    } else {
        p.groups = ceil_div(p.panels, group_panels);
        if (p.groups * p.blocks < wanted_units) p.groups = ceil_div(wanted_units, p.blocks);
        if (p.groups > p.panels) p.groups = p.panels;
    }
    size_t block_tiles = ceil_div(p.tiles, p.blocks);
    p.partial_floats = p.tiles == 1 ? p.tile_rows * VLM_PANEL : block_tiles * group_panels * p.tile_rows * VLM_PANEL;
    return p;
}

size_t vlm_linear_scratch_bytes(const vlm_linear_call *call, int threads) {
    if (call->rows == 0 || call->out_features == 0) return 0;
    plan p = make_plan(call, threads);
    return p.tiles * p.tile_bytes + (size_t)threads * p.partial_floats * sizeof(float);
}

typedef struct job {
    const vlm_linear_call *call;
    plan plan;
    char *tiles;
    float *partials;
} job;

static size_t rows_of_tile(const job *j, size_t tile) {
    size_t left = j->call->rows - tile * j->plan.tile_rows;
    return left < j->plan.tile_rows ? left : j->plan.tile_rows;
}

static void lay_out_tile(void *context, size_t tile, size_t worker) {
    (void)worker;
    const job *j = context;
    const vlm_linear_call *call = j->call;
    j->plan.kernels->rows[call->kind](
        call->x + tile * j->plan.tile_rows * call->x_stride, call->x_stride, rows_of_tile(j, tile), j->plan.tile_rows,
        call->in_features, j->tiles + tile * j->plan.tile_bytes);
}

static void multiply(void *context, size_t unit, size_t worker) {
    const job *j = context;
    const plan *p = &j->plan;
    const vlm_linear_call *call = j->call;
    size_t group = unit / p->blocks, block = unit % p->blocks;
    size_t first_panel = part_start(p->panels, p->groups, group), end_panel = part_start(p->panels, p->groups, group + 1);
    size_t first_tile = part_start(p->tiles, p->blocks, block), end_tile = part_start(p->tiles, p->blocks, block + 1);
    size_t width = call->epilogue == VLM_EPILOGUE_GATED ? VLM_PANEL / 2 : VLM_PANEL;
    size_t word_bytes = call->kind == VLM_GEMM_BF16_WIDE ? 8 : 4;
    size_t tile_floats = p->tile_rows * VLM_PANEL;
    float *partials = j->partials + worker * p->partial_floats;
    // One tile: finish panel after panel, so that the weights are one stream. Several: chunk after chunk.
    size_t stride = p->tiles == 1 ? 1 : end_panel - first_panel;
    for (size_t start = first_panel; start < end_panel; start += stride) {
        for (size_t chunk = 0; chunk < p->chunks; chunk++) {
            size_t step = chunk * VLM_CHUNK;
            size_t steps = p->steps - step < VLM_CHUNK ? p->steps - step : VLM_CHUNK;
            for (size_t panel = start; panel < start + stride; panel++) {
                const char *b = (const char *)call->panels + panel * p->panel_bytes + step * VLM_PANEL * 4;
                size_t column = panel * width;
                size_t columns = call->out_features - column < width ? call->out_features - column : width;
                float *partial = partials + (panel - start) * (end_tile - first_tile) * tile_floats;
                for (size_t tile = first_tile; tile < end_tile; tile++, partial += tile_floats) {
                    size_t rows = rows_of_tile(j, tile);
                    const char *a = j->tiles + tile * p->tile_bytes + chunk * p->tile_rows * VLM_CHUNK * word_bytes;
                    p->kernels->tile[call->kind][rows](steps, a, b, partial, chunk == 0);
                    if (chunk + 1 == p->chunks) {
                        float *out = call->out + tile * p->tile_rows * call->out_stride + column;
                        p->kernels->finish(call, partial, rows, panel, columns, out);
                    }
                }
            }
        }
    }
}

bool vlm_linear(vlm_pool *pool, int threads, const vlm_linear_call *call) {
    if (call->rows == 0 || call->out_features == 0) return true;
    job j = {.call = call, .plan = make_plan(call, threads), .tiles = call->scratch};
    j.partials = (float *)(j.tiles + j.plan.tiles * j.plan.tile_bytes);
    // A few rows are laid out in less time than it takes to share them.
    if (j.plan.tiles == 1) lay_out_tile(&j, 0, 0);
    else if (!vlm_pool_run(pool, j.plan.tiles, lay_out_tile, &j)) return false;
    return vlm_pool_run(pool, j.plan.groups * j.plan.blocks, multiply, &j);
}
