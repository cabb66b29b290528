"""Camera backbones: images in, a list of feature maps with declared strides and channels out."""
