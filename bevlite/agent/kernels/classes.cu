// Classes of voxels and map cells: one read of the logits, one byte a result.
#include "common.cuh"

// The class (places,) whose logit (classes, places) is highest: the first of equals, and the first that is no number,
// as numpy has it.
extern "C" __global__ void best_class(const void* maps, int half, int classes, int places, byte* best) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= places) return;
    Numbers logits = {maps, half};
    float highest = logits[i];
    int found = 0;
    for (int c = 1; c < classes; c++) {
        float value = logits[(long long)c * places + i];
        if (highest == highest && !(value <= highest)) {
            highest = value;
            found = c;
        }
    }
    best[i] = found;
}

// The class of every voxel where the graph takes it already: from (nz, ny, nx) int32 to bytes in the order x, y, z.
extern "C" __global__ void voxel_bytes(const int* classes, int nx, int ny, int nz, byte* turned) {
    __shared__ byte tile[32][33];  // x, z
    int y = blockIdx.y, base_x = blockIdx.x * 32, base_z = blockIdx.z * 32;
    for (int z = threadIdx.y; z < 32; z += blockDim.y) {
        int x = base_x + threadIdx.x;
        if (x < nx && base_z + z < nz) tile[threadIdx.x][z] = classes[((long long)(base_z + z) * ny + y) * nx + x];
    }
    __syncthreads();
    int depth = min(32, nz - base_z);
    for (int i = threadIdx.y * 32 + threadIdx.x; i < 32 * depth; i += 32 * blockDim.y) {
        int x = base_x + i / depth, z = base_z + i % depth;
        if (x < nx) turned[((long long)x * ny + y) * nz + z] = tile[i / depth][i % depth];
    }
}

// Whether each class (classes, places) is there: its logit is not below the cut of the class.
extern "C" __global__ void map_classes(const void* maps, int half, const float* cuts, int places, byte* there) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    long long place = (long long)blockIdx.y * places + i;
    Numbers logits = {maps, half};
    if (i < places) there[place] = logits[place] >= cuts[blockIdx.y];
}
