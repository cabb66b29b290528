"""View transforms: image features and geometry in, a camera BEV map out."""
