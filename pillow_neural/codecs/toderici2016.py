"""toderici2016: full resolution image compression with recurrent neural networks.

    x - x' --conv 3x3/2--> RNN/2 --> RNN/2 --> RNN/2 --conv 1x1, sign--> 32 bits a 16x16 block
                                                                                   |
    x' <--conv 1x1-- D2S RNN <-- D2S RNN <-- D2S RNN <-- D2S RNN <--conv 1x1-------+

Toderici, Vincent, Johnston, Hwang, Minnen, Shor, Covell 2016 (arXiv 1608.05148): the residual GRU with
one-shot reconstruction, the same number of iterations for the whole picture. LSTM and GRU, additive and
scaled additive reconstruction are other members of the family: see RecurrentShape. The codec is
pillow_neural.codecs.recurrent.
"""

from pillow_neural.codecs.recurrent import load

__all__ = ["load"]
