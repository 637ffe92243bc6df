// Fourier transforms and products for any processor: vectors of 4 numbers.
#include "caffe/util/fourier_kernels.hpp"

#define FOURIER_WIDTH 4
#define FOURIER_VECTORS 1
#define FOURIER_NAME FourierBase
#include "caffe/util/fourier_kernels_impl.hpp"

namespace caffe {

const FourierKernels kFourierKernelsBase = {
    FOURIER_NAME::forward, FOURIER_NAME::inverse, FOURIER_NAME::product};

}  // namespace caffe

#undef FOURIER_WIDTH
#undef FOURIER_VECTORS
#undef FOURIER_NAME
