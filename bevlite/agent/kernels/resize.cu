// Camera images to the network's uint8 input: resize with anti-aliasing and crop, to the last bit as in training.
//
// A block makes a tile of the result. It resizes the source rows that the tile needs along x into shared memory, rounded
// to 8 bits as the reference does, then along y: the source is read once, and nothing is written in between.
#include "common.cuh"

#define BITS 22  // fraction of the weights

struct Sum {
    int red, green, blue;
};

__device__ __forceinline__ void add(Sum& sum, int red, int green, int blue, int weight) {
    sum.red += red * weight;
    sum.green += green * weight;
    sum.blue += blue * weight;
}

// Source pixels in RGB, three bytes a pixel.
struct Rgb {
    const byte* row;
    __device__ Rgb(const byte* image, int pitch, int, int y, const int*) : row(image + (long long)y * pitch) {}
    __device__ void add_to(Sum& sum, int x, int weight) const {
        const byte* pixel = row + 3 * x;
        add(sum, pixel[0], pixel[1], pixel[2], weight);
    }
};

__device__ __forceinline__ int to_byte(int value) { return min(max(value >> 16, 0), 255); }

// Source pixels in NV12: a plane of Y, then rows of Cb, Cr for two by two pixels. `matrix`: see YuvMatrix.
struct Nv12 {
    const byte *luma, *chroma;
    const int* matrix;
    __device__ Nv12(const byte* image, int pitch, int height, int y, const int* coefficients)
        : luma(image + (long long)y * pitch),
          chroma(image + (long long)(height + y / 2) * pitch),
          matrix(coefficients) {}
    __device__ void add_to(Sum& sum, int x, int weight) const {
        int y = (luma[x] - matrix[0]) * matrix[1] + 32768;
        int cb = chroma[x & ~1] - 128, cr = chroma[x | 1] - 128;
        add(sum, to_byte(y + matrix[2] * cr), to_byte(y + matrix[3] * cb + matrix[4] * cr),
            to_byte(y + matrix[5] * cb), weight);
    }
};

template <class Source>
__device__ void resize(const byte* images, int pitch, long long camera_bytes, int source_height, const int* matrix,
                       const int* column, const int* column_weight, int column_taps, const int* row,
                       const int* row_weight, int row_taps, int width, int height, int tile_rows, byte* out) {
    DYNAMIC_SHARED(unsigned, between);  // (source rows of the tile, columns of the tile), three bytes a pixel
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int top = blockIdx.y * tile_rows, bottom = min(top + tile_rows, height);
    int low = row[top], high = row[(row_taps - 1) * height + bottom - 1];
    const byte* image = images + blockIdx.z * camera_bytes;
    for (int y = low + threadIdx.y; y <= high; y += blockDim.y) {
        if (x >= width) break;
        Source source(image, pitch, source_height, y, matrix);
        Sum sum = {1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1)};
        for (int k = 0; k < column_taps; k++) source.add_to(sum, column[k * width + x], column_weight[k * width + x]);
        between[(y - low) * blockDim.x + threadIdx.x] =
            (unsigned)(sum.red >> BITS) | (unsigned)(sum.green >> BITS) << 8 | (unsigned)(sum.blue >> BITS) << 16;
    }
    __syncthreads();
    for (int y = top + threadIdx.y; y < bottom; y += blockDim.y) {
        if (x >= width) break;
        Sum sum = {1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1)};
        for (int k = 0; k < row_taps; k++) {
            unsigned pixel = between[(row[k * height + y] - low) * blockDim.x + threadIdx.x];
            add(sum, pixel & 255, pixel >> 8 & 255, pixel >> 16, row_weight[k * height + y]);
        }
        byte* place = out + ((long long)blockIdx.z * 3 * height + y) * width + x;
        place[0] = sum.red >> BITS;
        place[(long long)height * width] = sum.green >> BITS;
        place[2ll * height * width] = sum.blue >> BITS;
    }
}

extern "C" __global__ void resize_rgb(const byte* images, int pitch, int camera_rows, int source_height,
                                      const int* matrix, const int* column, const int* column_weight, int column_taps,
                                      const int* row, const int* row_weight, int row_taps, int width, int height,
                                      int tile_rows, byte* out) {
    resize<Rgb>(images, pitch, (long long)camera_rows * pitch, source_height, matrix, column, column_weight,
                column_taps, row, row_weight, row_taps, width, height, tile_rows, out);
}

extern "C" __global__ void resize_nv12(const byte* images, int pitch, int camera_rows, int source_height,
                                       const int* matrix, const int* column, const int* column_weight, int column_taps,
                                       const int* row, const int* row_weight, int row_taps, int width, int height,
                                       int tile_rows, byte* out) {
    resize<Nv12>(images, pitch, (long long)camera_rows * pitch, source_height, matrix, column, column_weight,
                 column_taps, row, row_weight, row_taps, width, height, tile_rows, out);
}
