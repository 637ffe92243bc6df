// Fourier transforms and products for processors with AVX2: vectors of 8 numbers.
#include "caffe/util/fourier_kernels.hpp"

#ifdef CAFFE_FOURIER_X86

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define FOURIER_WIDTH 8
#define FOURIER_VECTORS 1
#define FOURIER_NAME FourierAvx2
#include "caffe/util/fourier_kernels_impl.hpp"

namespace caffe {

const FourierKernels kFourierKernelsAvx2 = {
    FOURIER_NAME::forward, FOURIER_NAME::inverse, FOURIER_NAME::product};

}  // namespace caffe

#undef FOURIER_WIDTH
#undef FOURIER_VECTORS
#undef FOURIER_NAME
#pragma GCC pop_options

#endif  // CAFFE_FOURIER_X86
