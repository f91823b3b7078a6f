"""johnston2018: priming and spatially adaptive bit rates for recurrent networks.

    first iteration:   x --E--E--E--E--B--> b_1 --D--D--D--D--> x'_1       three steps of priming
    later iterations:  x - x' --E--B--> b_t --D--> x'_t                    in the blocks that need more

Johnston, Vincent, Minnen, Covell, Singh, Chinen, Hwang, Shor, Toderici 2018 (arXiv 1703.10114): the loop of
toderici2016 with GRU units, hidden states primed before any bit counts, as many iterations a block as its
target quality needs, and a training loss weighed by SSIM. The codec is pillow_neural.codecs.recurrent.
"""

from pillow_neural.codecs.recurrent import load

__all__ = ["load"]
