"""A small Pulseq file made by hand, for tests to change."""

import hashlib

BASE = """# made by hand
[VERSION]
major 1
minor 5
revision 0

[DEFINITIONS]
AdcRasterTime 1e-07
BlockDurationRaster 1e-05
GradientRasterTime 1e-05
RadiofrequencyRasterTime 1e-06

[BLOCKS]
1 20 1 0 0 0 0 0
2 100 0 1 2 0 1 1
3 50 0 0 0 0 0 0

[RF]
1 250 1 2 0 50 100 0 0 0 0.5 e

[GRADIENTS]
2 1000 0 0 3 0 20

[TRAP]
1 50000 100 300 100 10

[ADC]
1 16 10000 100 0 0 0 0 0

[EXTENSIONS]
1 1 1 0

extension LABELSET 1
1 5 LIN

[SHAPES]

shape_id 1
num_samples 100
1
0
0
97

shape_id 2
num_samples 100
0
0
98

shape_id 3
num_samples 4
0.5
1
1
0.5

"""


def sign(text):
    digest = hashlib.md5(text.encode()).hexdigest()
    return (text + f"\n[SIGNATURE]\nType md5\nHash {digest}\n").encode()
