// No include guard: included once for every instruction set, with
// FOURIER_WIDTH (channels per vector register), FOURIER_VECTORS (vectors that
// a product computes at a time) and FOURIER_NAME defined. FOURIER_STREAM, if
// defined, stores a vector of a whole cache line past the cache. This file
// must include nothing itself: inline functions of other headers would be
// compiled for an instruction set that the processor may lack.
//
// A transform along one axis is a small matrix product. Its cost is halved by
// folding: cos is even and sin is odd in n, so x(n) + x(size - n) and
// x(n) - x(size - n) are formed first, and the sums run over half the terms:
//   sum_n x(n) exp(-2 pi i k n / size)
//     = sum_n e(n) cos(2 pi k n / size) - i sum_n o(n) sin(2 pi k n / size).
// The same holds in k: frequencies k and size - k share their sums.

namespace caffe {
namespace {

struct FOURIER_NAME {
  typedef float Vector __attribute__((vector_size(4 * FOURIER_WIDTH)));
  // the same in an array of floats
  typedef float Floats __attribute__((vector_size(4 * FOURIER_WIDTH),
      aligned(4), may_alias));

  static inline Vector load(const float* from) {
    return *reinterpret_cast<const Floats*>(from);
  }

  static inline void store(float* to, const Vector& value) {
    *reinterpret_cast<Floats*>(to) = value;
  }

  // A spectrum is written and read once, at hundreds of places far apart, and is
  // larger than the cache: full cache lines are written past it, and the line
  // that the next tile will read is asked for in advance.
  static inline void store_once(float* to, const Vector& value) {
#ifdef FOURIER_STREAM
    FOURIER_STREAM(to, value);
#else
    store(to, value);
#endif
  }

  static inline Vector load_once(const float* from) {
    __builtin_prefetch(from + kFourierLanes);
    return load(from);
  }

  // out[first + i] = sum over n < terms of matrix[first + i][n] * x[n]: COUNT
  // sums at a time keep the multipliers busy.
  template <int COUNT>
  static inline void sums(const float (*matrix)[kFourierHalf], const int first,
      const Vector* x, const int terms, Vector* out) {
    Vector sum[COUNT];
    for (int i = 0; i < COUNT; ++i) { sum[i] = matrix[first + i][0] * x[0]; }
    for (int n = 1; n < terms; ++n) {
      const Vector value = x[n];
      for (int i = 0; i < COUNT; ++i) {
        sum[i] += matrix[first + i][n] * value;
      }
    }
    for (int i = 0; i < COUNT; ++i) { out[first + i] = sum[i]; }
  }

  // A call costs little beside its sums; inlined everywhere, it would make the
  // compiler slow.
  template <int HALF>
  static __attribute__((noinline)) void multiply(const float (*matrix)[kFourierHalf],
      const Vector* x, const int terms, Vector* out) {
    const int kBlock = 7;
    sums<(HALF < kBlock ? HALF : kBlock)>(matrix, 0, x, terms, out);
    if (HALF > kBlock) {
      sums<(HALF > kBlock ? HALF - kBlock : 1)>(matrix, kBlock, x, terms, out);
    }
  }

  // Folds a signal of SIZE values into its even and its odd part.
  template <int SIZE>
  static inline void fold(const Vector* x, Vector* even, Vector* odd) {
    even[0] = odd[0] = x[0];  // their sine is zero, here and in the middle
    even[SIZE / 2] = odd[SIZE / 2] = x[SIZE / 2];
    for (int n = 1; n < SIZE / 2; ++n) {
      even[n] = x[n] + x[SIZE - n];
      odd[n] = x[n] - x[SIZE - n];
    }
  }

  template <int SIZE>
  static void forward_tile(const FourierTable& table, const float* tile,
      const int rows, const int columns, const FourierTarget& target) {
    const FourierTarget spectrum = target;  // a copy, which no store can change
    const int kHalf = SIZE / 2 + 1;
    // terms of a folded signal that can differ from zero
    const int row_terms = columns < kHalf ? columns : kHalf;
    const int column_terms = rows < kHalf ? rows : kHalf;
    for (int lane = 0; lane < kFourierLanes; lane += FOURIER_WIDTH) {
      // transformed along the rows: [column frequency][row]
      Vector real[kHalf][SIZE], imaginary[kHalf][SIZE];
      Vector even[kHalf], odd[kHalf], first[kHalf], second[kHalf];
      for (int y = 0; y < rows; ++y) {
        Vector x[SIZE];
        for (int n = 0; n < SIZE; ++n) {
          x[n] = n < columns ?
              load(tile + (y * columns + n) * kFourierLanes + lane) : Vector{};
        }
        fold<SIZE>(x, even, odd);
        multiply<kHalf>(table.cosine, even, row_terms, first);
        multiply<kHalf>(table.sine, odd, row_terms, second);
        for (int k = 0; k < kHalf; ++k) {
          real[k][y] = first[k];
          imaginary[k][y] = -second[k];
        }
      }
      for (int k = 0; k < kHalf; ++k) {
        for (int y = rows; y < SIZE; ++y) {
          real[k][y] = imaginary[k][y] = Vector{};
        }
      }
      float* out = spectrum.data + lane;
      for (int k = 0; k < kHalf; k += SIZE / 2) {  // real columns
        fold<SIZE>(real[k], even, odd);
        multiply<kHalf>(table.cosine, even, column_terms, first);
        multiply<kHalf>(table.sine, odd, column_terms, second);
        for (int l = 0; l < kHalf; ++l, out += spectrum.frequency) {
          store_once(out, first[l]);
          store_once(out + spectrum.imaginary, -second[l]);
        }
      }
      Vector third[kHalf], fourth[kHalf];
      for (int k = 1; k < SIZE / 2; ++k) {  // complex columns
        fold<SIZE>(real[k], even, odd);
        multiply<kHalf>(table.cosine, even, column_terms, first);
        multiply<kHalf>(table.sine, odd, column_terms, second);
        fold<SIZE>(imaginary[k], even, odd);
        multiply<kHalf>(table.cosine, even, column_terms, third);
        multiply<kHalf>(table.sine, odd, column_terms, fourth);
        for (int l = 0; l < kHalf; ++l) {
          float* to = out + l * spectrum.frequency;
          store_once(to, first[l] + fourth[l]);
          store_once(to + spectrum.imaginary, third[l] - second[l]);
          if (l > 0 && l < SIZE / 2) {
            to = out + (SIZE - l) * spectrum.frequency;
            store_once(to, first[l] - fourth[l]);
            store_once(to + spectrum.imaginary, third[l] + second[l]);
          }
        }
        out += SIZE * spectrum.frequency;
      }
    }
  }

  template <int SIZE>
  static void inverse_tile(const FourierTable& table,
      const FourierTarget& target, float* tile, const int rows,
      const int columns) {
    const FourierTarget spectrum = target;
    const int kHalf = SIZE / 2 + 1;
    for (int lane = 0; lane < kFourierLanes; lane += FOURIER_WIDTH) {
      // transformed back along the columns: [row][column frequency]
      Vector real[SIZE][kHalf], imaginary[SIZE][kHalf];
      Vector x[kHalf], y[kHalf], first[kHalf], second[kHalf];
      const float* in = spectrum.data + lane;
      for (int k = 0; k < kHalf; k += SIZE / 2) {  // real columns
        for (int l = 0; l < kHalf; ++l, in += spectrum.frequency) {
          x[l] = load_once(in);
          y[l] = load_once(in + spectrum.imaginary);
        }
        multiply<kHalf>(table.real_cosine, x, kHalf, first);
        multiply<kHalf>(table.real_sine, y, kHalf, second);
        for (int n = 0; n < kHalf; ++n) {
          if (n < rows) { real[n][k] = first[n] - second[n]; }
          if (n > 0 && SIZE - n < rows) {
            real[SIZE - n][k] = first[n] + second[n];
          }
        }
        for (int n = 0; n < rows; ++n) { imaginary[n][k] = Vector{}; }
      }
      Vector z[kHalf], w[kHalf], third[kHalf], fourth[kHalf];
      for (int k = 1; k < SIZE / 2; ++k) {  // complex columns
        for (int l = 0; l < kHalf; ++l) {
          const float* from = in + l * spectrum.frequency;
          x[l] = load_once(from);
          y[l] = load_once(from + spectrum.imaginary);
          z[l] = x[l];
          w[l] = y[l];
          if (l > 0 && l < SIZE / 2) {
            from = in + (SIZE - l) * spectrum.frequency;
            const Vector a = load_once(from), b = load_once(from + spectrum.imaginary);
            x[l] += a;
            y[l] += b;
            z[l] -= a;
            w[l] -= b;
          }
        }
        multiply<kHalf>(table.cosine, x, kHalf, first);
        multiply<kHalf>(table.cosine, y, kHalf, second);
        multiply<kHalf>(table.sine, z, kHalf, third);
        multiply<kHalf>(table.sine, w, kHalf, fourth);
        for (int n = 0; n < kHalf; ++n) {
          if (n < rows) {
            real[n][k] = first[n] - fourth[n];
            imaginary[n][k] = second[n] + third[n];
          }
          if (n > 0 && SIZE - n < rows) {
            real[SIZE - n][k] = first[n] + fourth[n];
            imaginary[SIZE - n][k] = second[n] - third[n];
          }
        }
        in += SIZE * spectrum.frequency;
      }
      for (int n = 0; n < rows; ++n) {
        multiply<kHalf>(table.last_cosine, real[n], kHalf, first);
        multiply<kHalf>(table.last_sine, imaginary[n], kHalf, second);
        float* to = tile + n * columns * kFourierLanes + lane;
        for (int m = 0; m < kHalf; ++m) {
          if (m < columns) {
            store(to + m * kFourierLanes, first[m] - second[m]);
          }
          if (m > 0 && SIZE - m < columns) {
            store(to + (SIZE - m) * kFourierLanes, first[m] + second[m]);
          }
        }
      }
    }
  }

  // kFourierRows rows and VECTORS vectors of a product: their three sums stay
  // in registers.
  template <int VECTORS, bool TRANSPOSED>
  static void product_part(const FourierProduct& p, const int row,
      const int vector) {
    const ptrdiff_t across = TRANSPOSED ? 1 : kFourierLanes;  // to the next row
    const ptrdiff_t along = TRANSPOSED ? kFourierLanes : 1;   // to the next term
    ptrdiff_t left = TRANSPOSED ? row / kFourierLanes * p.left_block +
        row % kFourierLanes : row * kFourierLanes;
    ptrdiff_t right[VECTORS];
    for (int v = 0; v < VECTORS; ++v) {
      const int column = (vector + v) * FOURIER_WIDTH;
      right[v] = column / kFourierLanes * p.right_block + column % kFourierLanes;
    }
    Vector first[kFourierRows][VECTORS], second[kFourierRows][VECTORS],
        third[kFourierRows][VECTORS];
    for (int r = 0; r < kFourierRows; ++r) {
      for (int v = 0; v < VECTORS; ++v) {
        first[r][v] = second[r][v] = third[r][v] = Vector{};
      }
    }
    for (int done = 0; done < p.depth; done += kFourierLanes) {
      const int terms = p.depth - done < kFourierLanes ? p.depth - done :
          kFourierLanes;
      for (int k = 0; k < terms; ++k) {
        Vector c[VECTORS], d[VECTORS], sum[VECTORS];
        for (int v = 0; v < VECTORS; ++v) {
          c[v] = load(p.right[0] + right[v] + (done + k) * kFourierLanes);
          d[v] = load(p.right[1] + right[v] + (done + k) * kFourierLanes);
          sum[v] = c[v] + d[v];
        }
        const ptrdiff_t at = left + k * along;
        for (int r = 0; r < kFourierRows; ++r) {
          for (int v = 0; v < VECTORS; ++v) {
            first[r][v] += p.left[0][at + r * across] * sum[v];
            second[r][v] += p.left[1][at + r * across] * d[v];
            third[r][v] += p.left[2][at + r * across] * c[v];
          }
        }
      }
      left += TRANSPOSED ? kFourierLanes * kFourierLanes : p.left_block;
    }
    for (int r = 0; r < kFourierRows; ++r) {
      for (int v = 0; v < VECTORS; ++v) {
        const int column = (vector + v) * FOURIER_WIDTH;
        const ptrdiff_t at = column / kFourierLanes * p.result_block +
            (row + r) * kFourierLanes + column % kFourierLanes;
        Vector real = first[r][v] - second[r][v];
        Vector imaginary = first[r][v] + third[r][v];
        if (p.conjugate) { imaginary = -imaginary; }
        if (p.add) {
          real += load(p.result[0] + at);
          imaginary += load(p.result[1] + at);
        }
        store(p.result[0] + at, real);
        store(p.result[1] + at, imaginary);
      }
    }
  }

  template <bool TRANSPOSED>
  static void product_of(const FourierProduct& p) {
    const int blocks = (p.columns + kFourierLanes - 1) / kFourierLanes;
    const int vectors = blocks * (kFourierLanes / FOURIER_WIDTH);
    for (int vector = 0; vector < vectors; vector += FOURIER_VECTORS) {
      for (int row = 0; row < p.rows; row += kFourierRows) {
        if (vector + FOURIER_VECTORS <= vectors) {
          product_part<FOURIER_VECTORS, TRANSPOSED>(p, row, vector);
        } else {
          product_part<1, TRANSPOSED>(p, row, vector);
        }
      }
    }
  }

  static void product(const FourierProduct& p) {
    if (p.transposed) {
      product_of<true>(p);
    } else {
      product_of<false>(p);
    }
  }

  static void forward(const FourierTable& table, const float* tile, int rows,
      int columns, const FourierTarget& spectrum) {
    switch (table.size) {
      case 12: forward_tile<12>(table, tile, rows, columns, spectrum); break;
      case 14: forward_tile<14>(table, tile, rows, columns, spectrum); break;
      case 16: forward_tile<16>(table, tile, rows, columns, spectrum); break;
      case 20: forward_tile<20>(table, tile, rows, columns, spectrum); break;
      default: forward_tile<24>(table, tile, rows, columns, spectrum);
    }
  }

  static void inverse(const FourierTable& table, const FourierTarget& spectrum,
      float* tile, int rows, int columns) {
    switch (table.size) {
      case 12: inverse_tile<12>(table, spectrum, tile, rows, columns); break;
      case 14: inverse_tile<14>(table, spectrum, tile, rows, columns); break;
      case 16: inverse_tile<16>(table, spectrum, tile, rows, columns); break;
      case 20: inverse_tile<20>(table, spectrum, tile, rows, columns); break;
      default: inverse_tile<24>(table, spectrum, tile, rows, columns);
    }
  }
};

}  // namespace
}  // namespace caffe
