// The kernels are compiled for the GPU at hand when a model loads, so their text travels in the binary.
#include "vlm_cuda_sources.h"

// #embed is C23; clang has it as an extension for every C.
#pragma clang diagnostic ignored "-Wc23-extensions"

static const unsigned char types_cuh[] = {
#embed "Kernels/types.cuh"
    , 0};
static const unsigned char ptx_cuh[] = {
#embed "Kernels/ptx.cuh"
    , 0};
static const unsigned char mma_cuh[] = {
#embed "Kernels/mma.cuh"
    , 0};
static const unsigned char cluster_cuh[] = {
#embed "Kernels/cluster.cuh"
    , 0};
static const unsigned char hopper_cuh[] = {
#embed "Kernels/hopper.cuh"
    , 0};
static const unsigned char vectors_cuh[] = {
#embed "Kernels/vectors.cuh"
    , 0};
static const unsigned char elementwise_cu[] = {
#embed "Kernels/elementwise.cu"
    , 0};
static const unsigned char epilogue_cuh[] = {
#embed "Kernels/epilogue.cuh"
    , 0};
static const unsigned char skinny_block_cuh[] = {
#embed "Kernels/skinny_block.cuh"
    , 0};
static const unsigned char skinny_cuh[] = {
#embed "Kernels/skinny.cuh"
    , 0};
static const unsigned char linear_cu[] = {
#embed "Kernels/linear.cu"
    , 0};
static const unsigned char gemm_tile_cuh[] = {
#embed "Kernels/gemm_tile.cuh"
    , 0};
static const unsigned char gemm_cu[] = {
#embed "Kernels/gemm.cu"
    , 0};
static const unsigned char attention_cu[] = {
#embed "Kernels/attention.cu"
    , 0};
static const unsigned char attention_cuh[] = {
#embed "Kernels/attention.cuh"
    , 0};
static const unsigned char attention_scalar_cu[] = {
#embed "Kernels/attention_scalar.cu"
    , 0};
static const unsigned char hopper_tiles_cuh[] = {
#embed "Kernels/hopper_tiles.cuh"
    , 0};
static const unsigned char hopper_softmax_cuh[] = {
#embed "Kernels/hopper_softmax.cuh"
    , 0};
static const unsigned char attention_hopper_cu[] = {
#embed "Kernels/attention_hopper.cu"
    , 0};
static const unsigned char attention_hopper_cuh[] = {
#embed "Kernels/attention_hopper.cuh"
    , 0};
static const unsigned char decode_merge_cuh[] = {
#embed "Kernels/decode_merge.cuh"
    , 0};
static const unsigned char decode_attention_cu[] = {
#embed "Kernels/decode_attention.cu"
    , 0};
static const unsigned char sampling_cu[] = {
#embed "Kernels/sampling.cu"
    , 0};
static const unsigned char images_cu[] = {
#embed "Kernels/images.cu"
    , 0};
static const unsigned char measure_cu[] = {
#embed "Kernels/measure.cu"
    , 0};
static const unsigned char load_cu[] = {
#embed "Kernels/load.cu"
    , 0};
static const unsigned char vlm_cuda_kernels_h_text[] = {
#embed "include/vlm_cuda_kernels.h"
    , 0};
static const unsigned char vlm_cuda_elementwise_h_text[] = {
#embed "include/vlm_cuda_elementwise.h"
    , 0};
static const unsigned char vlm_cuda_linear_h_text[] = {
#embed "include/vlm_cuda_linear.h"
    , 0};
static const unsigned char vlm_cuda_gemm_h_text[] = {
#embed "include/vlm_cuda_gemm.h"
    , 0};
static const unsigned char vlm_cuda_attention_h_text[] = {
#embed "include/vlm_cuda_attention.h"
    , 0};
static const unsigned char vlm_cuda_attention_hopper_h_text[] = {
#embed "include/vlm_cuda_attention_hopper.h"
    , 0};
static const unsigned char vlm_cuda_decode_h_text[] = {
#embed "include/vlm_cuda_decode.h"
    , 0};
static const unsigned char vlm_cuda_sampling_h_text[] = {
#embed "include/vlm_cuda_sampling.h"
    , 0};
static const unsigned char vlm_cuda_images_h_text[] = {
#embed "include/vlm_cuda_images.h"
    , 0};
static const unsigned char vlm_cuda_measure_h_text[] = {
#embed "include/vlm_cuda_measure.h"
    , 0};
static const unsigned char vlm_cuda_load_h_text[] = {
#embed "include/vlm_cuda_load.h"
    , 0};

#define FILE_NAMED(name, symbol) {name, (const char *)symbol, sizeof(symbol) - 1}

static const vlm_cuda_source all[] = {
    FILE_NAMED("types.cuh", types_cuh),
    FILE_NAMED("ptx.cuh", ptx_cuh),
    FILE_NAMED("mma.cuh", mma_cuh),
    FILE_NAMED("vectors.cuh", vectors_cuh),
    FILE_NAMED("cluster.cuh", cluster_cuh),
    FILE_NAMED("hopper.cuh", hopper_cuh),
    FILE_NAMED("elementwise.cu", elementwise_cu),
    FILE_NAMED("epilogue.cuh", epilogue_cuh),
    FILE_NAMED("skinny_block.cuh", skinny_block_cuh),
    FILE_NAMED("skinny.cuh", skinny_cuh),
    FILE_NAMED("linear.cu", linear_cu),
    FILE_NAMED("gemm_tile.cuh", gemm_tile_cuh),
    FILE_NAMED("gemm.cu", gemm_cu),
    FILE_NAMED("attention.cu", attention_cu),
    FILE_NAMED("attention.cuh", attention_cuh),
    FILE_NAMED("attention_scalar.cu", attention_scalar_cu),
    FILE_NAMED("hopper_tiles.cuh", hopper_tiles_cuh),
    FILE_NAMED("hopper_softmax.cuh", hopper_softmax_cuh),
    FILE_NAMED("attention_hopper.cu", attention_hopper_cu),
    FILE_NAMED("attention_hopper.cuh", attention_hopper_cuh),
    FILE_NAMED("decode_merge.cuh", decode_merge_cuh),
    FILE_NAMED("decode_attention.cu", decode_attention_cu),
    FILE_NAMED("sampling.cu", sampling_cu),
    FILE_NAMED("images.cu", images_cu),
    FILE_NAMED("load.cu", load_cu),
    FILE_NAMED("measure.cu", measure_cu),
    FILE_NAMED("vlm_cuda_kernels.h", vlm_cuda_kernels_h_text),
    FILE_NAMED("vlm_cuda_elementwise.h", vlm_cuda_elementwise_h_text),
    FILE_NAMED("vlm_cuda_linear.h", vlm_cuda_linear_h_text),
    FILE_NAMED("vlm_cuda_gemm.h", vlm_cuda_gemm_h_text),
    FILE_NAMED("vlm_cuda_attention.h", vlm_cuda_attention_h_text),
    FILE_NAMED("vlm_cuda_attention_hopper.h", vlm_cuda_attention_hopper_h_text),
    FILE_NAMED("vlm_cuda_decode.h", vlm_cuda_decode_h_text),
    FILE_NAMED("vlm_cuda_sampling.h", vlm_cuda_sampling_h_text),
    FILE_NAMED("vlm_cuda_images.h", vlm_cuda_images_h_text),
    FILE_NAMED("vlm_cuda_load.h", vlm_cuda_load_h_text),
    FILE_NAMED("vlm_cuda_measure.h", vlm_cuda_measure_h_text),
};

const vlm_cuda_source *vlm_cuda_sources(size_t *count) {
    *count = sizeof(all) / sizeof(all[0]);
    return all;
}
