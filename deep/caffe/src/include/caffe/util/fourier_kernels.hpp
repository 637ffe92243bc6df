#ifndef CAFFE_UTIL_FOURIER_KERNELS_HPP_
#define CAFFE_UTIL_FOURIER_KERNELS_HPP_

#include <stddef.h>

namespace caffe {

// Discrete Fourier transforms of square tiles of real numbers, 16 channels at
// a time: the innermost index of a tile, [rows][columns][16], is the channel.
// All arrays of this file are laid out in such blocks of 16 channels.
const int kFourierLanes = 16;
const int kFourierRows = 4;  // rows of a product that are computed at a time
const int kFourierLargest = 24;                    // rows of a tile
const int kFourierHalf = kFourierLargest / 2 + 1;  // different cosines

// Coefficients for tiles of `size` rows; k and n run from 0 to size / 2.
struct FourierTable {
  int size;
  float cosine[kFourierHalf][kFourierHalf];  // cos(2 pi k n / size)
  float sine[kFourierHalf][kFourierHalf];    // sin(2 pi k n / size)
  // For the inverse of a real signal, [n][k]: times 2 where frequency k stands
  // for size - k as well; and the same divided by size * size.
  float real_cosine[kFourierHalf][kFourierHalf];
  float real_sine[kFourierHalf][kFourierHalf];
  float last_cosine[kFourierHalf][kFourierHalf];
  float last_sine[kFourierHalf][kFourierHalf];
};

// Where the frequencies of a tile lie: real part of frequency f at
// data[f * frequency], imaginary part at data[f * frequency + imaginary], 16
// channels each.
struct FourierTarget {
  float* data;
  ptrdiff_t frequency;
  ptrdiff_t imaginary;
};

// The spectrum of a real tile is symmetric, X(-k) = conj(X(k)), so that
// size * size / 2 + 2 complex numbers hold all of it. In this order: column
// frequency 0 with row frequencies 0 to size / 2; column frequency size / 2
// with the same; column frequencies 1 to size / 2 - 1 with row frequencies 0
// to size - 1 each.
inline int fourier_frequencies(const int size) { return size * size / 2 + 2; }

// A product of complex matrices, result = left * right, with three real
// products instead of four (Gauss). For left = a + ib and right = c + id:
//   real part = a (c + d) - (a + b) d, imaginary part = a (c + d) + (b - a) c.
// Matrices are laid out in blocks of 16 columns, [block][row][16]; the
// distance from one block to the next is given.
struct FourierProduct {
  int rows, columns, depth;  // of the result; terms of a sum
  // a, a + b and b - a. Element (m, k) is at row m of the left matrix, or, if
  // the left matrix is given transposed, at its column m.
  const float* left[3];
  ptrdiff_t left_block;
  bool transposed;
  const float* right[2];  // c, d
  ptrdiff_t right_block;
  float* result[2];  // real and imaginary part
  ptrdiff_t result_block;
  bool add;        // add to the result, instead of replacing it
  bool conjugate;  // of the product, which then is added or stored
};

struct FourierKernels {
  // Transforms a tile of which only the first `rows` rows and `columns`
  // columns are given, [rows][columns][16]; the rest is zero.
  void (*forward)(const FourierTable& table, const float* tile, int rows,
      int columns, const FourierTarget& spectrum);
  // The inverse; writes the first `rows` rows and `columns` columns only.
  void (*inverse)(const FourierTable& table, const FourierTarget& spectrum,
      float* tile, int rows, int columns);
  // Computes whole blocks of columns, and a multiple of kFourierRows rows: the
  // arrays must have room for them.
  void (*product)(const FourierProduct& product);
};

// The kernels for this processor, chosen when first asked for.
const FourierKernels& fourier_kernels();

extern const FourierKernels kFourierKernelsBase;
#if defined(__x86_64__) && defined(__GNUC__)
#define CAFFE_FOURIER_X86
extern const FourierKernels kFourierKernelsAvx2;
extern const FourierKernels kFourierKernelsAvx512;
#endif

}  // namespace caffe

#endif  // CAFFE_UTIL_FOURIER_KERNELS_HPP_
