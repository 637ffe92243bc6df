// Fourier transforms and products for processors with AVX512: vectors of 16 numbers.
#include "caffe/util/fourier_kernels.hpp"

#ifdef CAFFE_FOURIER_X86

#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,fma")
#define FOURIER_WIDTH 16
#define FOURIER_VECTORS 2
#define FOURIER_STREAM __builtin_ia32_movntps512
#define FOURIER_NAME FourierAvx512
#include "caffe/util/fourier_kernels_impl.hpp"

namespace caffe {

const FourierKernels kFourierKernelsAvx512 = {
    FOURIER_NAME::forward, FOURIER_NAME::inverse, FOURIER_NAME::product};

}  // namespace caffe

#undef FOURIER_WIDTH
#undef FOURIER_VECTORS
#undef FOURIER_STREAM
#undef FOURIER_NAME
#pragma GCC pop_options

#endif  // CAFFE_FOURIER_X86
