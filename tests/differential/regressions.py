"""Cases that smelt once answered wrongly, run each time before the random ones."""
import numpy

import wire
from case import MS_DOMAIN, Case


def floats(*values):
    return numpy.array(values, dtype="float32")


def byte(value, kind="uint8"):
    return numpy.array(value, dtype=kind)


SCALE = numpy.array(0.05, dtype="float32")

REGRESSIONS = [
    # The bias of a QGemm is in units of alpha, too.
    Case("QGemm", [byte([[119]]), SCALE, byte(36), byte([[46]], "int8"), SCALE, byte(-38, "int8"), numpy.array([-660], dtype="int32")],
         {"alpha": 0.75}, domain=MS_DOMAIN),
    # Without a zero point the result has the input's type, not uint8.
    Case("QLinearAveragePool", [byte([[[5, -7, 20]]], "int8"), SCALE, byte(-3, "int8"), SCALE], {"kernel_shape": [2]}, domain=MS_DOMAIN,
         constant={1, 2, 3}),
    # Reals become integers of 4 bits by rounding.
    Case("Cast", [floats(0.6, 1.7, 2.2, 7.9, -0.6)], {"to": wire.UINT4}, opset=21, after=[("Cast", {"to": wire.FLOAT})]),
    # Integers of a window are cut off: its middle must be 1 exactly.
    Case("BlackmanWindow", [numpy.array(10)], {"output_datatype": wire.INT32}, opset=17),
]
