// BEV queries packed by the cameras that see them (BEVFormer-lite): slots are numbered by sums in a fixed order.
#include "project.cuh"
#include "scan.cuh"

#define MOST_CAMERAS 16

// Where a camera sees a point, in px; false where it does not.
__device__ bool seen_at(const double* camera, const float* error, double x, double y, double z, double nearest,
                        int width, int height, double* u, double* v) {
    float depth_near = moved_float(camera, 2, (float)x, (float)y, (float)z);
    if (depth_near < (float)nearest - error[2]) return false;  // behind: most cameras are
    double depth = moved(camera, 2, x, y, z);
    if (!(depth > nearest)) return false;
    *u = moved(camera, 0, x, y, z) / depth;
    if (!(*u > -0.5 && *u < width - 0.5)) return false;
    *v = moved(camera, 1, x, y, z) / depth;
    return *v > -0.5 && *v < height - 0.5;
}

// The cameras of each query, as bits: those that see most of its points, the first of equals; and how many queries of a
// block each camera has.
extern "C" __global__ void slots_chosen(const double* cameras, const float* errors, int camera_count,
                                        const double* heights, int height_count, double x_min, double y_min,
                                        double cell_m, int nx, int ny, double nearest, int width, int height,
                                        int overlap, int blocks, int* chosen, int* sums) {
    int query = blockIdx.x * blockDim.x + threadIdx.x, bits = 0;
    if (query < nx * ny) {
        double x = centre(x_min, query % nx, cell_m), y = centre(y_min, query / nx, cell_m), u, v;
        int points[MOST_CAMERAS];
        for (int n = 0; n < camera_count; n++) {
            points[n] = 0;
            for (int a = 0; a < height_count; a++)
                points[n] += seen_at(cameras + 12 * n, errors + 3 * n, x, y, heights[a], nearest, width, height, &u, &v);
        }
        for (int k = 0; k < overlap; k++) {
            int best = -1;
            for (int n = 0; n < camera_count; n++)
                if (points[n] > 0 && !(bits >> n & 1) && (best < 0 || points[n] > points[best])) best = n;
            if (best >= 0) bits |= 1 << best;
        }
        chosen[query] = bits;
    }
    for (int n = 0; n < camera_count; n++) {
        int total;
        exclusive_sum(bits >> n & 1, &total);
        if (threadIdx.x == 0) sums[n * blocks + blockIdx.x] = total;
    }
}

// The tables of the queries that are seen. needed (camera_count,): slots of each camera, were there room.
extern "C" __global__ void slots_fill(const double* cameras, const float* errors, int camera_count,
                                      const double* heights, int height_count, double x_min, double y_min,
                                      double cell_m, int nx, int ny, double nearest, int width, int height, int overlap,
                                      int blocks, const int* chosen, const int* sums, int slots, int* slot_query,
                                      void* slot_reference, int* query_slot, void* query_share, int* needed,
                                      int half) {
    int query = blockIdx.x * blockDim.x + threadIdx.x;
    int bits = query < nx * ny ? chosen[query] : 0, count = __popc(bits), entry = 0;
    for (int n = 0; n < camera_count; n++) {
        int own = bits >> n & 1, total;
        int before = sum_of_first(sums + n * blocks, blockIdx.x);
        int slot = before + exclusive_sum(own, &total);
        if (blockIdx.x == blocks - 1 && threadIdx.x == 0) needed[n] = before + total;
        if (!own) continue;
        if (slot < slots) {
            double x = centre(x_min, query % nx, cell_m), y = centre(y_min, query / nx, cell_m), u, v;
            slot_query[n * slots + slot] = 1 + query;
            for (int a = 0; a < height_count; a++) {
                long long place = (((long long)n * slots + slot) * height_count + a) * 2;
                bool seen = seen_at(cameras + 12 * n, errors + 3 * n, x, y, heights[a], nearest, width, height, &u, &v);
                put(slot_reference, half, place, seen ? (float)(2 * (u + 0.5) / width - 1) : -3.0f);
                put(slot_reference, half, place + 1, seen ? (float)(2 * (v + 0.5) / height - 1) : -3.0f);
            }
        }
        query_slot[query * overlap + entry++] = 1 + n * slots + slot;
    }
    if (query >= nx * ny) return;
    for (; entry < overlap; entry++) query_slot[query * overlap + entry] = 0;
    put(query_share, half, query, count ? (float)(1.0 / count) : 0.0f);
}

// Slots that no query takes: no query, and a place that no camera sees.
extern "C" __global__ void slots_rest(const int* needed, int slots, int height_count, int* slot_query,
                                      void* slot_reference, int half) {
    int slot = blockIdx.x * blockDim.x + threadIdx.x, n = blockIdx.y;
    if (slot >= slots || slot < needed[n]) return;
    slot_query[n * slots + slot] = 0;
    for (int i = 0; i < 2 * height_count; i++)
        put(slot_reference, half, ((long long)n * slots + slot) * 2 * height_count + i, -3);
}
