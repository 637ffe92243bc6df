#ifndef CAFFE_UTIL_FOURIER_CONVOLUTION_HPP_
#define CAFFE_UTIL_FOURIER_CONVOLUTION_HPP_

#include <stddef.h>
#include <stdint.h>

namespace caffe {

// A 2-D convolution without stride and dilation, for a batch of images.
// Arrays are laid out as in Caffe: images (num, channels, height, width),
// weights (outputs, inputs / groups, kernel, kernel).
struct ConvolutionShape {
  int num;          // images in the batch
  int inputs;       // channels of the bottom
  int outputs;      // channels of the top
  int groups;
  int height, width;          // of the bottom
  int out_height, out_width;  // of the top
  int kernel;                 // rows and columns of a kernel
  int pad_h, pad_w;
};

// Memory in huge pages, where the system has them: transforms write to hundreds
// of places far apart.
class FourierMemory {
 public:
  FourierMemory() : data_(NULL), bytes_(0) {}
  ~FourierMemory() { release(); }
  // Returns memory for at least that many floats, NULL if there is none. Its
  // content is lost if it has to grow.
  float* reserve(int64_t floats);
  void release();

 private:
  FourierMemory(const FourierMemory&);  // not copied
  FourierMemory& operator=(const FourierMemory&);

  float* data_;
  size_t bytes_;
};

// The transformed weights that a layer keeps from one prediction to the next,
// if CAFFE_FOURIER_KEEP is 1. They are computed again when the weights change.
struct FourierWeights {
  FourierMemory memory;
  int size;  // of the tiles; 0 before the first prediction
  uint64_t checksum;

  FourierWeights() : size(0), checksum(0) {}
};

// Whether the Fourier domain is expected to be faster than matrix products
// over the rows of the kernels, and its workspace is within CAFFE_FOURIER_MB.
bool fourier_pays(const ConvolutionShape& shape);

// top = bottom (*) weights + bias; `bias` may be NULL. The two functions return false, and leave the
// results untouched, if the workspace cannot be allocated. `kept` is the layer's
// own, NULL in training.
bool fourier_forward(const ConvolutionShape& shape, const float* bottom,
    const float* weights, const float* bias, float* top, FourierWeights* kept);

// bottom_diff = gradient of the loss with respect to the bottom, and
// weight_diff += gradient with respect to the weights; either may be NULL.
bool fourier_backward(const ConvolutionShape& shape, const float* bottom,
    const float* top_diff, const float* weights, float* bottom_diff,
    float* weight_diff);

}  // namespace caffe

#endif  // CAFFE_UTIL_FOURIER_CONVOLUTION_HPP_
