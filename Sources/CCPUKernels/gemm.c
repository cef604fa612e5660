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

/// Bytes of a panel for one step of K.
#define STEP_BYTES ((size_t)VLM_PANEL * 4)

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
    return panels * steps * STEP_BYTES;
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
    size_t chunk_bytes;  // one chunk of a tile of activations
    size_t tile_bytes;   // all chunks of a tile
    size_t steps;        // of K
    size_t chunks;       // of K
    size_t panels;       // of N
    size_t panel_bytes;  // one panel of weights
    size_t blocks;       // of tiles
    size_t least_panels, most_panels;  // of a group
    size_t threads;
    size_t partial_floats;  // unfinished results of a worker
} plan;

static size_t ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }
static size_t part_start(size_t count, size_t parts, size_t part) { return count * part / parts; }

static plan make_plan(const vlm_linear_call *call, int threads) {
    plan p;
    p.kernels = vlm_gemm_kernels_for(call->isa);
    // Tiles of even height: the last one of 13 rows should not be one row, which costs half a full tile.
    p.tiles = ceil_div(call->rows, p.kernels->tile_rows);
    p.tile_rows = ceil_div(call->rows, p.tiles);
    p.steps = call->kind == VLM_GEMM_F32 ? call->in_features : ceil_div(call->in_features, 2);
    p.chunks = ceil_div(p.steps, VLM_CHUNK);
    p.chunk_bytes = p.tile_rows * VLM_CHUNK * (call->kind == VLM_GEMM_BF16_WIDE ? 8 : 4);
    p.tile_bytes = p.chunks * p.chunk_bytes;
    p.panels = ceil_div(call->out_features, call->epilogue == VLM_EPILOGUE_GATED ? VLM_PANEL / 2 : VLM_PANEL);
    p.panel_bytes = p.steps * STEP_BYTES;
    p.blocks = ceil_div(p.tiles * p.tile_rows, block_rows);
    // Handing out less than 32 KB of weights costs more than it balances.
    p.least_panels = p.tiles == 1 ? ceil_div(32768, p.panel_bytes) : 1;
    p.most_panels = p.tiles == 1 ? p.panels : group_panels;
    p.threads = (size_t)threads;
    size_t block_tiles = ceil_div(p.tiles, p.blocks);
    p.partial_floats = p.tiles == 1 ? p.tile_rows * VLM_PANEL : block_tiles * group_panels * p.tile_rows * VLM_PANEL;
    return p;
}

size_t vlm_linear_scratch_bytes(const vlm_linear_call *call, int threads) {
    if (call->rows == 0 || call->out_features == 0) return 0;
    plan p = make_plan(call, threads);
    return p.tiles * p.tile_bytes + p.threads * p.partial_floats * sizeof(float) + (p.panels + 1) * sizeof(uint32_t);
}

/// Cuts the panels into groups that shrink towards the end: large ones have long streams and little overhead, small ones
/// let the threads finish together. Writes the groups' first panels and the number of panels; returns the number of groups.
static size_t cut_groups(const plan *p, uint32_t *starts) {
    size_t groups = 0;
    for (size_t start = 0; start < p->panels;) {
        size_t size = p->threads == 1 ? p->panels : (p->panels - start) * 2 / (3 * p->threads);
        if (size < p->least_panels) size = p->least_panels;
        if (size > p->most_panels) size = p->most_panels;
        starts[groups++] = (uint32_t)start;
        start += size;
    }
    starts[groups] = (uint32_t)p->panels;
    return groups;
}

/// How far ahead of a walk through weights to ask for them, in bytes: memory answers after some 100 ns, in which a core reads 4 KB.
enum { walk_ahead = 8192 };

typedef struct job {
    const vlm_linear_call *call;
    plan plan;
    char *tiles;
    float *partials;
    uint32_t *groups;
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

/// Finishes a tile's results for one panel.
static void finish(const job *j, const float *partial, size_t tile, size_t panel) {
    const vlm_linear_call *call = j->call;
    size_t width = call->epilogue == VLM_EPILOGUE_GATED ? VLM_PANEL / 2 : VLM_PANEL;
    size_t column = panel * width;
    size_t columns = call->out_features - column < width ? call->out_features - column : width;
    float *out = call->out + tile * j->plan.tile_rows * call->out_stride + column;
    j->plan.kernels->finish(call, partial, rows_of_tile(j, tile), panel, columns, out);
}

static void multiply(void *context, size_t unit, size_t worker) {
    const job *j = context;
    const plan *p = &j->plan;
    const vlm_linear_call *call = j->call;
    size_t group = unit / p->blocks, block = unit % p->blocks;
    size_t first_panel = j->groups[group], end_panel = j->groups[group + 1];
    size_t first_tile = part_start(p->tiles, p->blocks, block), end_tile = part_start(p->tiles, p->blocks, block + 1);
    float *partials = j->partials + worker * p->partial_floats;
    if (p->tiles == 1) {
        // Panel after panel, so that the weights are one stream.
        for (size_t panel = first_panel; panel < end_panel; panel++) {
            const char *b = (const char *)call->panels + panel * p->panel_bytes;
            for (size_t chunk = 0; chunk < p->chunks; chunk++, b += VLM_CHUNK * STEP_BYTES) {
                size_t left = p->steps - chunk * VLM_CHUNK;
                vlm_ahead ahead = {b + walk_ahead, b + walk_ahead + 64, STEP_BYTES, STEP_BYTES};
                p->kernels->tile[call->kind][call->rows](
                    left < VLM_CHUNK ? left : VLM_CHUNK, j->tiles + chunk * p->chunk_bytes, b, partials, chunk == 0, &ahead);
            }
            finish(j, partials, 0, panel);
        }
        return;
    }
    // Chunk after chunk: one of a panel for all tiles, then the next panel's.
    size_t tile_floats = p->tile_rows * VLM_PANEL, tiles = end_tile - first_tile;
    for (size_t chunk = 0; chunk < p->chunks; chunk++) {
        size_t left = p->steps - chunk * VLM_CHUNK;
        size_t steps = left < VLM_CHUNK ? left : VLM_CHUNK;
        float *partial = partials;
        for (size_t panel = first_panel; panel < end_panel; panel++) {
            const char *b = (const char *)call->panels + panel * p->panel_bytes + chunk * VLM_CHUNK * STEP_BYTES;
            // The weights that come after these: fetched in equal parts beside the tiles.
            bool last_panel = panel + 1 == end_panel;
            const char *next_b =
                last_panel ? b + VLM_CHUNK * STEP_BYTES - (panel - first_panel) * p->panel_bytes : b + p->panel_bytes;
            size_t b_step = (STEP_BYTES + tiles - 1) / tiles;
            for (size_t tile = first_tile; tile < end_tile; tile++, partial += tile_floats, next_b += b_step * VLM_CHUNK) {
                const char *a = j->tiles + tile * p->tile_bytes + chunk * p->chunk_bytes;
                // The rows that come after these: the next tile's, or at the end the first tile's.
                const char *next_a = tile + 1 < end_tile ? a + p->tile_bytes : a - (tiles - 1) * p->tile_bytes;
                if (tile + 1 == end_tile && last_panel) next_a += p->chunk_bytes;
                vlm_ahead ahead = {next_a, next_b, p->chunk_bytes / VLM_CHUNK, b_step};
                p->kernels->tile[call->kind][rows_of_tile(j, tile)](steps, a, b, partial, chunk == 0, &ahead);
                if (chunk + 1 == p->chunks) finish(j, partial, tile, panel);
            }
        }
    }
}

bool vlm_linear(vlm_pool *pool, int threads, const vlm_linear_call *call) {
    if (call->rows == 0 || call->out_features == 0) return true;
    job j = {.call = call, .plan = make_plan(call, threads), .tiles = call->scratch};
    j.partials = (float *)(j.tiles + j.plan.tiles * j.plan.tile_bytes);
    j.groups = (uint32_t *)(j.partials + j.plan.threads * j.plan.partial_floats);
    size_t groups = cut_groups(&j.plan, j.groups);
    // A few rows are laid out in less time than it takes to share them.
    if (j.plan.tiles == 1) lay_out_tile(&j, 0, 0);
    else if (!vlm_pool_run(pool, j.plan.tiles, lay_out_tile, &j)) return false;
    return vlm_pool_run(pool, groups * j.plan.blocks, multiply, &j);
}
