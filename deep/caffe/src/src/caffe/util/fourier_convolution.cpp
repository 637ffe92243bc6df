// Convolution in the Fourier domain.
//
// A convolution is a product in the Fourier domain. With w of k x k weights,
// x cut into tiles of T x T pixels and capitals for transforms (over both
// axes, for one frequency, sums over channels c, outputs o and tiles t):
//
//   forward            Y[t, o]  = sum_c X[t, c] conj(W[o, c])
//   gradient of x      dX[t, c] = sum_o dY[t, o] W[o, c]
//   gradient of w      dW[o, c] = sum_t X[t, c] conj(dY[t, o])
//
// (Caffe's convolution is a correlation, hence the conjugates.) For each
// frequency this is a complex matrix product, and there are T * T / 2 + 2
// frequencies. Of a tile, M = T - k + 1 outputs per axis are free of the
// periodic wrap-around of the transform, so tiles are M pixels apart and
// overlap (overlap-save). For the gradient of x, tiles of M x M gradients are
// padded with zeros to T x T, and the overlapping results added (overlap-add).
// The gradient of w needs the first k x k pixels of the result only, which are
// free of wrap-around too.
//
// Per output this takes about 3 T^2 / (2 M^2) multiplications per channel pair
// instead of k^2: for 5 x 5 kernels and T = 14, 2.9 instead of 25.
//
// Results do not depend on the number of threads: each frequency is computed by
// one thread, and overlapping tiles are added in a fixed order.
#include "caffe/util/fourier_convolution.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>

#include "caffe/util/fourier_kernels.hpp"
#include "caffe/util/parallel.hpp"

namespace caffe {

namespace {

const int kTileSizes[] = {12, 14, 16, 20, 24};
const int kMegabytes = 512;  // of the workspace, unless CAFFE_FOURIER_MB is set

int round_up(const int value, const int multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Complex matrices of one frequency after the other: [frequency][real,
// imaginary][block of channels][row][16].
struct Spectrum {
  float* data;
  int rows;    // a multiple of kFourierRows
  int blocks;  // of 16 channels

  ptrdiff_t block() const { return ptrdiff_t(rows) * kFourierLanes; }
  // One vector more than it holds: at distances that are powers of two, the
  // parts of a tile's spectrum would compete for the same few places of the
  // processor's cache.
  ptrdiff_t plane() const { return blocks * block() + kFourierLanes; }
  int64_t floats(const int frequencies) const {
    return 2 * int64_t(frequencies) * plane();
  }
  FourierTarget target(const int row, const int channel) const {
    FourierTarget target = {data + channel / kFourierLanes * block() +
        ptrdiff_t(row) * kFourierLanes, 2 * plane(), plane()};
    return target;
  }
};

Spectrum make_spectrum(const int rows, const int channels) {
  Spectrum spectrum = {NULL, round_up(rows, kFourierRows),
      round_up(channels, kFourierLanes) / kFourierLanes};
  return spectrum;
}

// How images are cut into tiles.
struct Grid {
  int rows, columns;  // tiles per image
  int step;           // pixels from one tile to the next

  int64_t tiles(const int images) const {
    return int64_t(images) * rows * columns;
  }
};

const Grid kOneTile = {1, 1, 0};  // for weights: each kernel is one tile

// How a convolution is computed; channel counts are those of one group.
struct Plan {
  int size;  // T, rows of a tile
  int frequencies;
  Grid grid;
  int inputs, outputs;
  int chunk;      // tiles transformed at a time
  int64_t tiles;  // in the batch
  Spectrum forward_weights;   // rows are inputs, channels are outputs
  Spectrum backward_weights;  // rows are outputs, channels are inputs
  Spectrum bottom, top;       // of a chunk
  float* scratch;             // for each thread, `scratch_floats`

  int64_t weights_floats() const {
    return std::max(forward_weights.floats(frequencies),
        backward_weights.floats(frequencies));
  }
  int64_t scratch_floats() const {
    return 2 * std::max(bottom.plane(), top.plane());
  }
  int64_t floats() const {
    return weights_floats() + bottom.floats(frequencies) +
        top.floats(frequencies) + parallel_threads() * scratch_floats();
  }
};

int64_t workspace_limit() {  // floats
  const char* given = std::getenv("CAFFE_FOURIER_MB");
  const int64_t megabytes = given ? std::atoi(given) : kMegabytes;
  return (std::max<int64_t>(0, megabytes) << 20) / sizeof(float);
}

// Chooses the largest chunk for which the workspace is within its limit; false
// if not even one tile fits.
bool choose_chunk(Plan* plan) {
  const int64_t limit = workspace_limit();
  int64_t chunk = plan->tiles;
  while (true) {
    plan->chunk = static_cast<int>(std::min<int64_t>(chunk, 1 << 20));
    plan->bottom = make_spectrum(plan->chunk, plan->inputs);
    plan->top = make_spectrum(plan->chunk, plan->outputs);
    if (plan->floats() <= limit) { return true; }
    if (chunk == 1) { return false; }
    chunk = (chunk + 1) / 2;
  }
}

// Time of a forward pass, in units of one real multiplication of the products.
// The factors were fitted to the times of all tile sizes on the deep net's
// layers, for one and two images, on an EPYC with AVX-512 (mean error 4%):
// transforms are slower than products since they move data, and the transforms
// of the weights, which are the largest arrays, wait for memory.
double cost(const Plan& plan) {
  const double kTransform = 8, kWeights = 90;
  const double in = plan.inputs, out = plan.outputs, size = plan.size;
  const double channels = round_up(plan.inputs, kFourierLanes) +
      round_up(plan.outputs, kFourierLanes);
  // multiplications of a folded transform over both axes
  const double transform = size * size * (size / 2 + 2);
  return 3.0 * plan.frequencies * plan.tiles * in * out +
      kTransform * plan.tiles * channels * transform +
      kWeights * plan.frequencies * in * out;
}

// The same for the convolution by rows. Each of its products reads the columns
// of one row of the kernels, and reads and writes the output.
double cost_by_rows(const ConvolutionShape& shape, const Plan& plan) {
  const double kMemory = 30;
  const double in = plan.inputs, out = plan.outputs, kernel = shape.kernel;
  const double pixels = double(shape.num) * shape.out_height * shape.out_width;
  return pixels * kernel * (kernel * in * out + kMemory * (kernel * in + out));
}

// Chooses the fastest tile size; false if the convolution by rows is faster.
bool make_plan(const ConvolutionShape& shape, Plan* best) {
  Plan plan;
  plan.inputs = shape.inputs / shape.groups;
  plan.outputs = shape.outputs / shape.groups;
  plan.forward_weights = make_spectrum(plan.inputs, plan.outputs);
  plan.backward_weights = make_spectrum(plan.outputs, plan.inputs);
  double lowest = cost_by_rows(shape, plan);
  bool faster = false;
  for (int i = 0; i < sizeof(kTileSizes) / sizeof(kTileSizes[0]); ++i) {
    plan.size = kTileSizes[i];
    if (2 * (shape.kernel - 1) > plan.size) { continue; }
    plan.frequencies = fourier_frequencies(plan.size);
    plan.grid.step = plan.size - shape.kernel + 1;
    plan.grid.rows = (shape.out_height - 1) / plan.grid.step + 1;
    plan.grid.columns = (shape.out_width - 1) / plan.grid.step + 1;
    plan.tiles = plan.grid.tiles(shape.num);
    const double expected = cost(plan);
    if (expected < lowest && choose_chunk(&plan)) {
      lowest = expected;
      *best = plan;
      faster = true;
    }
  }
  return faster;
}

// Makes a plan and gives its arrays their places in the workspace, which all
// layers of a thread share.
bool prepare(const ConvolutionShape& shape, Plan* plan) {
  static thread_local FourierMemory workspace;
  if (!make_plan(shape, plan)) { return false; }
  float* memory = workspace.reserve(plan->floats());
  if (!memory) { return false; }
  plan->forward_weights.data = plan->backward_weights.data = memory;
  plan->bottom.data = memory + plan->weights_floats();
  plan->top.data = plan->bottom.data + plan->bottom.floats(plan->frequencies);
  plan->scratch = plan->top.data + plan->top.floats(plan->frequencies);
  return true;
}

const FourierTable& table_of(const int size) {
  struct Tables {
    FourierTable of[kFourierLargest + 1];
    Tables() {
      for (int i = 0; i < sizeof(kTileSizes) / sizeof(kTileSizes[0]); ++i) {
        FourierTable& table = of[kTileSizes[i]];
        const int size = table.size = kTileSizes[i], half = size / 2 + 1;
        for (int n = 0; n < half; ++n) {
          for (int k = 0; k < half; ++k) {
            const double angle = 2 * M_PI * k * n / size;
            const double weight = (k == 0 || k == size / 2) ? 1 : 2;
            const double scale = weight / (size * size);
            // exactly zero where it should be
            const double sine = (2 * k * n) % size ? std::sin(angle) : 0;
            table.cosine[n][k] = std::cos(angle);
            table.sine[n][k] = sine;
            table.real_cosine[n][k] = weight * std::cos(angle);
            table.real_sine[n][k] = weight * sine;
            table.last_cosine[n][k] = scale * std::cos(angle);
            table.last_sine[n][k] = scale * sine;
          }
        }
      }
    }
  };
  static const Tables tables;
  return tables.of[size];
}

typedef float Tile[kFourierLargest * kFourierLargest * kFourierLanes];

// Images, or the kernels of a layer's weights as images.
template <typename Float>
struct Images {
  Float* data;
  int channels;          // of one group
  int height, width;     // pixels
  ptrdiff_t image, channel;  // distances from one to the next, in floats
};

// The part of a tile that lies within the image.
struct Window {
  int first_y, last_y, first_x, last_x;

  Window(const int height, const int width, const int top, const int left,
      const int side)
      : first_y(std::max(0, -top)), last_y(std::min(side, height - top)),
        first_x(std::max(0, -left)), last_x(std::min(side, width - left)) {}
};

// Reads `side` x `side` pixels of 16 channels from (top, left) on as a tile;
// zeros outside of the image.
template <typename Float>
void read_tile(const Images<Float>& from, const int image, const int channel,
    const int top, const int left, const int side, float* tile) {
  const int lanes = std::min(kFourierLanes, from.channels - channel);
  std::memset(tile, 0, sizeof(float) * side * side * kFourierLanes);
  const Window window(from.height, from.width, top, left, side);
  for (int lane = 0; lane < lanes; ++lane) {
    const float* plane = from.data + image * from.image +
        (channel + lane) * from.channel;
    for (int y = window.first_y; y < window.last_y; ++y) {
      const float* row = plane + ptrdiff_t(top + y) * from.width + left;
      float* to = tile + y * side * kFourierLanes + lane;
      for (int x = window.first_x; x < window.last_x; ++x) {
        to[x * kFourierLanes] = row[x];
      }
    }
  }
}

// The reverse of read_tile: adds the tile to the image, or copies it and adds
// the channel's bias, if there is one.
template <bool ADD>
void write_tile(const Images<float>& to, const int image, const int channel,
    const int top, const int left, const int side, const float* bias,
    const float* tile) {
  const int lanes = std::min(kFourierLanes, to.channels - channel);
  const Window window(to.height, to.width, top, left, side);
  for (int lane = 0; lane < lanes; ++lane) {
    float* plane = to.data + image * to.image + (channel + lane) * to.channel;
    const float constant = bias ? bias[channel + lane] : 0;
    for (int y = window.first_y; y < window.last_y; ++y) {
      float* row = plane + ptrdiff_t(top + y) * to.width + left;
      const float* from = tile + y * side * kFourierLanes + lane;
      for (int x = window.first_x; x < window.last_x; ++x) {
        row[x] = from[x * kFourierLanes] + (ADD ? row[x] : constant);
      }
    }
  }
}

// Calls body(row, image, y, x, channel) on all cores for the blocks of 16
// channels of the tiles first .. first + count - 1, where row counts from 0 and
// the tile begins at pixel (y, x). All tiles of a block in an image are the
// same thread's, in order. Images are the inner loop, since neighbours in a
// spectrum are the tiles of one block.
template <typename Body>
void for_tiles(const Grid& grid, const int64_t first, const int count,
    const int blocks, const Body& body) {
  const int per_image = grid.rows * grid.columns;
  const int first_image = static_cast<int>(first / per_image);
  const int images =
      static_cast<int>((first + count - 1) / per_image) - first_image + 1;
  const int kValues = 256 * kFourierLanes;  // of a tile, about
  parallel_for(images * blocks, std::min(per_image, count) * kValues,
      [&](const int begin, const int end) {
    for (int item = begin; item < end; ++item) {
      const int image = first_image + item % images;
      const int64_t start = int64_t(image) * per_image;
      const int64_t last = std::min(first + count, start + per_image);
      for (int64_t tile = std::max(first, start); tile < last; ++tile) {
        const int place = static_cast<int>(tile - start);
        body(static_cast<int>(tile - first), image,
            place / grid.columns * grid.step, place % grid.columns * grid.step,
            item / images * kFourierLanes);
      }
    }
    // stores past the cache end before another thread reads
    std::atomic_thread_fence(std::memory_order_seq_cst);
  });
}

// Transforms tiles of `side` x `side` pixels, which begin `pad` pixels before
// their place in the grid; the rest of a tile is zero.
void transform(const Images<const float>& from, const int size,
    const Grid& grid, const int64_t first, const int count, const int side,
    const int pad_h, const int pad_w, const Spectrum& spectrum) {
  const FourierKernels& kernels = fourier_kernels();
  const FourierTable& table = table_of(size);
  for_tiles(grid, first, count, spectrum.blocks, [&](const int row,
      const int image, const int y, const int x, const int channel) {
    alignas(64) Tile tile;
    read_tile(from, image, channel, y - pad_h, x - pad_w, side, tile);
    kernels.forward(table, tile, side, side, spectrum.target(row, channel));
  });
}

// The inverse of transform: adds the first `side` x `side` pixels of each tile
// to the images, or copies them with the bias.
template <bool ADD>
void transform_back(const Spectrum& spectrum, const int size, const Grid& grid,
    const int64_t first, const int count, const int side, const int pad_h,
    const int pad_w, const float* bias, const Images<float>& to) {
  const FourierKernels& kernels = fourier_kernels();
  const FourierTable& table = table_of(size);
  for_tiles(grid, first, count, spectrum.blocks, [&](const int row,
      const int image, const int y, const int x, const int channel) {
    alignas(64) Tile tile;
    kernels.inverse(table, spectrum.target(row, channel), tile, side, side);
    write_tile<ADD>(to, image, channel, y - pad_h, x - pad_w, side, bias,
        tile);
  });
}

enum Conjugate { kNothing, kLeft, kProduct };

// result = left * right for all frequencies, on all cores. If `transposed`, the
// left matrix is the transpose of what `left` holds.
void multiply(const Plan& plan, const Spectrum& left, const bool transposed,
    const Spectrum& right, const Spectrum& result, const int rows,
    const int columns, const int depth, const Conjugate conjugate,
    const bool add) {
  const int threads = parallel_threads();
  // for a product b is that of left's conjugate, if either is asked for:
  // x * conj(w) = conj(conj(x) * w)
  const float sign = conjugate == kNothing ? 1 : -1;
  parallel_for(threads, 1 << 20, [&](const int begin, const int end) {
    for (int thread = begin; thread < end; ++thread) {
      float* sum = plan.scratch + thread * plan.scratch_floats();
      float* difference = sum + left.plane();
      for (int f = thread; f < plan.frequencies; f += threads) {
        const float* a = left.data + 2 * f * left.plane();
        const float* b = a + left.plane();
        for (ptrdiff_t i = 0; i < left.plane(); ++i) {
          sum[i] = a[i] + sign * b[i];
          difference[i] = sign * b[i] - a[i];
        }
        const float* c = right.data + 2 * f * right.plane();
        float* out = result.data + 2 * f * result.plane();
        const FourierProduct product = {rows, columns, depth,
            {a, sum, difference}, left.block(), transposed,
            {c, c + right.plane()}, right.block(),
            {out, out + result.plane()}, result.block(), add,
            conjugate == kProduct};
        fourier_kernels().product(product);
      }
    }
  });
}

template <typename Float>
Images<Float> bottom_images(const ConvolutionShape& shape, Float* data,
    const int group) {
  const ptrdiff_t area = ptrdiff_t(shape.height) * shape.width;
  const int channels = shape.inputs / shape.groups;
  Images<Float> images = {data + group * channels * area, channels,
      shape.height, shape.width, shape.inputs * area, area};
  return images;
}

template <typename Float>
Images<Float> top_images(const ConvolutionShape& shape, Float* data,
    const int group) {
  const ptrdiff_t area = ptrdiff_t(shape.out_height) * shape.out_width;
  const int channels = shape.outputs / shape.groups;
  Images<Float> images = {data + group * channels * area, channels,
      shape.out_height, shape.out_width, shape.outputs * area, area};
  return images;
}

// Weights as images of inputs / groups channels, one for each output.
template <typename Float>
Images<Float> weight_images(const ConvolutionShape& shape, Float* data,
    const int group) {
  const ptrdiff_t area = shape.kernel * shape.kernel;
  const int channels = shape.inputs / shape.groups;
  const int outputs = shape.outputs / shape.groups;
  Images<Float> images = {data + group * outputs * channels * area, channels,
      shape.kernel, shape.kernel, channels * area, area};
  return images;
}

// The same weights as images of outputs / groups channels, one for each input.
Images<const float> input_images(const ConvolutionShape& shape,
    const float* data, const int group) {
  Images<const float> images = weight_images(shape, data, group);
  images.channels = shape.outputs / shape.groups;
  std::swap(images.image, images.channel);
  return images;
}

void transform_forward_weights(const ConvolutionShape& shape, const Plan& plan,
    const int group, const float* weights) {
  transform(input_images(shape, weights, group), plan.size, kOneTile, 0,
      plan.inputs, shape.kernel, 0, 0, plan.forward_weights);
}

// Uses the weights that are transformed in plan.forward_weights.
void forward_group(const ConvolutionShape& shape, const Plan& plan,
    const int group, const float* bottom, const float* bias, float* top) {
  for (int64_t first = 0; first < plan.tiles; first += plan.chunk) {
    const int count = std::min<int64_t>(plan.chunk, plan.tiles - first);
    transform(bottom_images(shape, bottom, group), plan.size, plan.grid, first,
        count, plan.size, shape.pad_h, shape.pad_w, plan.bottom);
    multiply(plan, plan.bottom, false, plan.forward_weights, plan.top, count,
        plan.outputs, plan.inputs, kProduct, false);
    transform_back<false>(plan.top, plan.size, plan.grid, first, count,
        plan.grid.step, 0, 0, bias ? bias + group * plan.outputs : NULL,
        top_images(shape, top, group));
  }
}

// A change of one value always changes the checksum, since the multiplier is
// odd. Four sums hide the latency of the multiplication.
uint64_t checksum(const float* values, const int64_t count) {
  const uint64_t kMultiplier = 0x9e3779b97f4a7c15u;
  uint64_t sums[4] = {1, 2, 3, 4};
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, values + i, sizeof(bits));
    sums[i % 4] = sums[i % 4] * kMultiplier + bits;
  }
  return ((sums[0] * kMultiplier + sums[1]) * kMultiplier + sums[2]) *
      kMultiplier + sums[3];
}

// Forward pass with the weights' transforms that the layer keeps; false if
// there is no memory for them.
bool forward_with_kept(const ConvolutionShape& shape, Plan plan,
    const float* bottom, const float* weights, const float* bias, float* top,
    FourierWeights* kept) {
  const int64_t floats = plan.forward_weights.floats(plan.frequencies);
  const int64_t count = int64_t(shape.outputs) * plan.inputs * shape.kernel *
      shape.kernel;
  float* memory = kept->memory.reserve(shape.groups * floats);
  if (!memory) { return false; }
  const uint64_t sum = checksum(weights, count);
  const bool valid = kept->size == plan.size && kept->checksum == sum;
  for (int group = 0; group < shape.groups; ++group) {
    plan.forward_weights.data = memory + group * floats;
    if (!valid) { transform_forward_weights(shape, plan, group, weights); }
    forward_group(shape, plan, group, bottom, bias, top);
  }
  kept->size = plan.size;
  kept->checksum = sum;
  return true;
}

void transform_top(const ConvolutionShape& shape, const Plan& plan,
    const int group, const float* top_diff, const int64_t first,
    const int count) {
  transform(top_images(shape, top_diff, group), plan.size, plan.grid, first,
      count, plan.grid.step, 0, 0, plan.top);
}

void backward_bottom_group(const ConvolutionShape& shape, const Plan& plan,
    const int group, const float* top_diff, const float* weights,
    float* bottom_diff) {
  transform(weight_images(shape, weights, group), plan.size, kOneTile, 0,
      plan.outputs, shape.kernel, 0, 0, plan.backward_weights);
  for (int64_t first = 0; first < plan.tiles; first += plan.chunk) {
    const int count = std::min<int64_t>(plan.chunk, plan.tiles - first);
    transform_top(shape, plan, group, top_diff, first, count);
    multiply(plan, plan.top, false, plan.backward_weights, plan.bottom, count,
        plan.inputs, plan.outputs, kNothing, false);
    transform_back<true>(plan.bottom, plan.size, plan.grid, first, count,
        plan.size, shape.pad_h, shape.pad_w, NULL,
        bottom_images(shape, bottom_diff, group));
  }
}

void backward_weights_group(const ConvolutionShape& shape, const Plan& plan,
    const int group, const float* bottom, const float* top_diff,
    float* weight_diff, const bool top_is_transformed) {
  for (int64_t first = 0; first < plan.tiles; first += plan.chunk) {
    const int count = std::min<int64_t>(plan.chunk, plan.tiles - first);
    if (!top_is_transformed) {
      transform_top(shape, plan, group, top_diff, first, count);
    }
    transform(bottom_images(shape, bottom, group), plan.size, plan.grid, first,
        count, plan.size, shape.pad_h, shape.pad_w, plan.bottom);
    multiply(plan, plan.top, true, plan.bottom, plan.backward_weights,
        plan.outputs, plan.inputs, count, kLeft, first > 0);
  }
  transform_back<true>(plan.backward_weights, plan.size, kOneTile, 0,
      plan.outputs, shape.kernel, 0, 0, NULL,
      weight_images(shape, weight_diff, group));
}

}  // namespace

float* FourierMemory::reserve(const int64_t floats) {
  const size_t bytes = floats * sizeof(float);
  if (bytes > bytes_) {
    release();
    void* data = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) { return NULL; }
#ifdef MADV_HUGEPAGE
    madvise(data, bytes, MADV_HUGEPAGE);
#endif
    data_ = static_cast<float*>(data);
    bytes_ = bytes;
  }
  return data_;
}

void FourierMemory::release() {
  if (data_) { munmap(data_, bytes_); }
  data_ = NULL;
  bytes_ = 0;
}

// The fastest kernels that this processor supports, or those of
// CAFFE_FOURIER_KERNELS (avx2, base) if it supports them: for tests.
const FourierKernels& fourier_kernels() {
  struct Choice {
    const FourierKernels* kernels;
    Choice() : kernels(&kFourierKernelsBase) {
#ifdef CAFFE_FOURIER_X86
      const char* value = std::getenv("CAFFE_FOURIER_KERNELS");
      const std::string most = value ? value : "";
      if (most != "base" && __builtin_cpu_supports("avx2") &&
          __builtin_cpu_supports("fma")) {
        kernels = &kFourierKernelsAvx2;
      }
      if (most != "base" && most != "avx2" &&
          __builtin_cpu_supports("avx512f") &&
          __builtin_cpu_supports("avx512vl") &&
          __builtin_cpu_supports("avx512dq")) {
        kernels = &kFourierKernelsAvx512;
      }
#endif
    }
  };
  static const Choice choice;
  return *choice.kernels;
}

bool fourier_pays(const ConvolutionShape& shape) {
  Plan plan;
  return shape.kernel >= 3 && make_plan(shape, &plan);
}

bool fourier_forward(const ConvolutionShape& shape, const float* bottom,
    const float* weights, const float* bias, float* top, FourierWeights* kept) {
  Plan plan;
  if (!prepare(shape, &plan)) { return false; }
  const char* keep = std::getenv("CAFFE_FOURIER_KEEP");
  if (kept && keep && std::atoi(keep) &&
      forward_with_kept(shape, plan, bottom, weights, bias, top, kept)) {
    return true;
  }
  for (int group = 0; group < shape.groups; ++group) {
    transform_forward_weights(shape, plan, group, weights);
    forward_group(shape, plan, group, bottom, bias, top);
  }
  return true;
}

bool fourier_backward(const ConvolutionShape& shape, const float* bottom,
    const float* top_diff, const float* weights, float* bottom_diff,
    float* weight_diff) {
  Plan plan;
  if (!prepare(shape, &plan)) { return false; }
  if (bottom_diff) {
    std::memset(bottom_diff, 0, sizeof(float) * shape.num * shape.inputs *
        size_t(shape.height) * shape.width);
  }
  for (int group = 0; group < shape.groups; ++group) {
    if (bottom_diff) {
      backward_bottom_group(shape, plan, group, top_diff, weights, bottom_diff);
    }
    if (weight_diff) {
      backward_weights_group(shape, plan, group, bottom, top_diff, weight_diff,
          bottom_diff && plan.chunk == plan.tiles);
    }
  }
  return true;
}

}  // namespace caffe
