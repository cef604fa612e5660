// From decoded pictures to the rows that vision encoders read. Every result equals the CPU's.
#include "ptx.cuh"

// A thread per number of a patch. Neighbours read bytes three apart in a line of the picture and write neighbouring elements.
extern "C" __global__ void __launch_bounds__(256) patch_rows(const __grid_constant__ vlm_cuda_patch_rows p) {
    allow_next();
    wait_for_previous();
    const uint32_t plane = p.patch * p.patch, index = blockIdx.x * blockDim.x + threadIdx.x;
    const uint32_t row = index / (3 * plane), column = index - row * 3 * plane;
    if (row >= p.rows) return;
    const uint32_t channel = column / plane, place = column - channel * plane, y = place / p.patch, x = place - y * p.patch;
    const int64_t corner = p.corners[2 * row], line = p.corners[2 * row + 1], pixel = corner + y * line + x;
    // A place outside the pixels is a mistake of the caller, which must not become a fault of the device.
    const bool exists = corner >= 0 && pixel < p.pixel_count;
    const element_t value = from_float<element_t>(exists ? p.samples[256 * channel + p.pixels[3 * pixel + channel]] : 0.0f);
    element_t *out = (element_t *)p.out + row * p.out_stride + (int64_t)channel * p.frames * plane + place;
    for (int frame = 0; frame < p.frames; frame++) out[frame * plane] = value;
}

// A thread per byte. Along a row neighbours read bytes that are near in the source, so most reads are from cache.
extern "C" __global__ void __launch_bounds__(256) resample(const __grid_constant__ vlm_cuda_resample p) {
    allow_next();
    wait_for_previous();
    const uint32_t index = blockIdx.x * blockDim.x + threadIdx.x;
    const uint32_t row = index / p.inner, b = index - row * p.inner, a = row / p.outputs, i = row - a * p.outputs;
    if (a >= p.outer) return;
    const int64_t start = max(p.starts[i], 0);
    const int taps = (int)min((int64_t)p.taps, p.length - start);
    const uint8_t *from = p.source + (a * p.length + start) * p.inner + b;
    const int32_t *weights = p.weights + (int64_t)i * p.taps;
    int32_t sum = 1 << (p.precision - 1);
    for (int k = 0; k < taps; k++) sum += weights[k] * from[(int64_t)k * p.inner];
    p.out[index] = (uint8_t)min(max(sum >> p.precision, 0), 255);
}
