// CUDA C on a CPU, for tests: blocks one after the other, the threads of a block as coroutines that take turns where
// they wait for each other. Not a GPU: no race between threads shows, and nothing is said about time.
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#define __global__ static
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __align__(n) alignas(n)

using std::max;
using std::min;

struct Size {
    unsigned x, y, z;
};
static Size threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {
constexpr size_t STACK = 1 << 16, SHARED = 48 << 10;
alignas(64) static unsigned char shared[SHARED];

enum State { READY, AT_BLOCK, AT_WARP, DONE };
#if defined(__x86_64__)  // ten times as fast as ucontext, which asks the kernel at each switch
typedef void* Context;
__attribute__((naked, noinline)) static void swap(Context*, Context*) {
    asm("pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15; movq %rsp, (%rdi); movq (%rsi), %rsp;"
        "popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp; ret");
}
static void prepare(Context* context, char* stack, size_t size, void (*start)()) {
    void** top = reinterpret_cast<void**>(stack + size) - 1;
    *--top = reinterpret_cast<void*>(start);  // the stack is then as a call leaves it
    for (int k = 0; k < 6; k++) *--top = nullptr;
    *context = top;
}
#else
typedef ucontext_t Context;
static void swap(Context* from, Context* to) { swapcontext(from, to); }
static void prepare(Context* context, char* stack, size_t size, void (*start)()) {
    getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = size;
    context->uc_link = nullptr;
    makecontext(context, start, 0);
}
#endif

struct Thread {
    Context context;
    Size index;
    State state;
};
static std::vector<Thread> threads;
static std::vector<char> stacks;  // aligned as memory of this size is
static Context scheduler;
static int running;
static void (*body)(void*);
static void* body_arguments;
static unsigned long long lanes[64][2][32];  // what the lanes of a warp hand to each other, in turns
static int turn[64];
static bool backwards;  // threads take turns from the last to the first: what needs a barrier and has none shows

static void fail(const char* why) {
    std::fprintf(stderr, "emulation: %s\n", why);
    std::abort();
}

static void start() {
    body(body_arguments);
    threads[running].state = DONE;
    swap(&threads[running].context, &scheduler);
}

static void wait(State state) {
    int own = running;
    threads[own].state = state;
    swap(&threads[own].context, &scheduler);
    running = own;
    threadIdx = threads[own].index;
}

// Everybody who waits goes on when all who live wait at the same place.
static bool release(int first, int last, State state) {
    int waiting = 0, done = 0;
    for (int t = first; t < last; t++) {
        waiting += threads[t].state == state;
        done += threads[t].state == DONE;
    }
    if (!waiting || waiting + done < last - first) return false;
    if (state == AT_WARP && done) fail("a warp waits for lanes that have returned");
    if (state == AT_BLOCK && done) fail("a block waits for threads that have returned");
    for (int t = first; t < last; t++) threads[t].state = READY;
    return true;
}

static void run_block(bool barriers) {
    int count = blockDim.x * blockDim.y * blockDim.z;
    if (!barriers) {
        for (int t = 0; t < count; t++) {
            threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / (blockDim.x * blockDim.y)};
            body(body_arguments);
        }
        return;
    }
    threads.resize(count);
    stacks.resize(count * STACK);
    for (int t = 0; t < count; t++) {
        Thread& thread = threads[t];
        thread.index = {t % blockDim.x, t / blockDim.x % blockDim.y, t / (blockDim.x * blockDim.y)};
        thread.state = READY;
        prepare(&thread.context, stacks.data() + t * STACK, STACK, start);
    }
    for (int left = count; left;) {
        bool moved = false;
        for (int n = 0; n < count; n++) {
            int t = backwards ? count - 1 - n : n;
            if (threads[t].state != READY) continue;
            moved = true;
            running = t;
            threadIdx = threads[t].index;
            swap(&scheduler, &threads[t].context);
            left -= threads[t].state == DONE;
        }
        for (int warp = 0; warp * 32 < count; warp++)
            moved |= release(warp * 32, min(count, warp * 32 + 32), AT_WARP);
        moved |= release(0, count, AT_BLOCK);
        if (left && !moved) fail("threads wait for each other without end");
    }
}

template <class T>
static T* all_lanes(T value) {
    int linear = running, warp = linear / 32;
    int mine = turn[warp];
    std::memcpy(&lanes[warp][mine][linear % 32], &value, sizeof(T));
    wait(AT_WARP);
    turn[warp] = 1 - mine;
    return reinterpret_cast<T*>(lanes[warp][mine]);
}

template <class T>
static T lane_of(T value, int source) {
    all_lanes(value);
    T found;
    std::memcpy(&found, &lanes[running / 32][1 - turn[running / 32]][source], sizeof(T));
    return found;
}

template <class... A, size_t... I>
static void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*reinterpret_cast<std::remove_reference_t<A>*>(arguments[I])...);
}
}  // namespace emulated

#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(emulated::shared)

#define HALF_BY_HAND
static float from_half(unsigned short bits) {
    int exponent = bits >> 10 & 31;
    float value = exponent == 0    ? std::ldexp((float)(bits & 1023), -24)
                  : exponent == 31 ? (bits & 1023 ? NAN : INFINITY)
                                   : std::ldexp((float)(bits & 1023 | 1024), exponent - 25);
    return bits & 0x8000 ? -value : value;
}
static unsigned short to_half(float value) {
    unsigned short sign = std::signbit(value) ? 0x8000 : 0;
    float size = std::fabs(value);
    if (size != size) return 0x7e00;
    if (size >= 65520.0f) return sign | 0x7c00;
    if (size == 0) return sign;
    int exponent = 0;
    std::frexp(size, &exponent);  // size in [2 ** (exponent - 1), 2 ** exponent)
    int step = max(exponent - 11, -24);
    int steps = (int)std::nearbyint(std::ldexp(size, -step));  // ties to even
    return sign | (unsigned short)(step == -24 ? steps : ((step + 24) << 10) + steps);
}

static void __syncthreads() { emulated::wait(emulated::AT_BLOCK); }
static void __syncwarp() { emulated::all_lanes(0); }
template <class T>
static T __shfl_sync(unsigned, T value, int source) {
    return emulated::lane_of(value, source);
}
template <class T>
static T __shfl_up_sync(unsigned, T value, int step) {
    int lane = emulated::running % 32;
    return emulated::lane_of(value, lane < step ? lane : lane - step);
}
static unsigned __ballot_sync(unsigned, bool own) {
    emulated::all_lanes((unsigned)own);
    int warp = emulated::running / 32;
    unsigned found = 0;
    for (int lane = 0; lane < 32; lane++) {
        unsigned other;
        std::memcpy(&other, &emulated::lanes[warp][1 - emulated::turn[warp]][lane], sizeof other);
        found |= other << lane;
    }
    return found;
}
static int __popc(unsigned value) { return __builtin_popcount(value); }
static int __ffs(unsigned value) { return __builtin_ffs(value); }
static unsigned __float_as_uint(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}
static float __uint_as_float(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
template <class T>
static T atomicAdd(T* place, T value) {
    T before = *place;
    *place += value;
    return before;
}
template <class T>
static T atomicOr(T* place, T value) {
    T before = *place;
    *place |= value;
    return before;
}
template <class T>
static T atomicMax(T* place, T value) {
    T before = *place;
    *place = max(before, value);
    return before;
}
