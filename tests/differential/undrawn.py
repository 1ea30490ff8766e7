"""Why the generators leave out some of what ONNX Runtime's tables offer: {(operator, what coverage.py calls it): reason}."""

NO_KERNEL = "ONNX Runtime has no kernel for it, whatever its table says"
STATE = "of decoders that keep their state between runs; smelt refuses it by name"
CRASH = "ONNX Runtime reads past its list of inputs"
SUMS = "the bodies add and multiply, which truth values do not"

RANDOM = "random values"
UNSUPPORTED = "ONNX Runtime does not know it"

UNDRAWN = {
    **{(name, "all"): RANDOM for name in ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")},
    ("Scale", "all"): UNSUPPORTED,
    ("ai.onnx.ml::ZipMap", "all"): "a tensor here, maps in ONNX Runtime",
    ("BatchNormalization", "attribute training_mode"): "ONNX Runtime's package for inference has no training; unit tests have it",
    ("Cast", "attribute round_mode"): "only of FLOAT8E8M0, which ONNX Runtime's Cast does not know",
    ("CastLike", "attribute round_mode"): "only of FLOAT8E8M0, which ONNX Runtime's Cast does not know",
    ("GRU", "attribute layout"): NO_KERNEL,
    ("GRU", "T float64"): NO_KERNEL,
    ("LSTM", "attribute layout"): NO_KERNEL,
    ("LSTM", "T float64"): NO_KERNEL,
    ("RNN", "attribute layout"): NO_KERNEL,
    ("Loop", "V bool"): SUMS,
    ("Scan", "V bool"): SUMS,
    ("com.microsoft::BeamSearch", "all"): "its decoder is a model of its own: unit tests have a small one, the shared models GPT-2",
    ("com.microsoft::Attention", "attribute do_rotary"): STATE,
    ("com.microsoft::Attention", "attribute past_present_share_buffer"): STATE,
    ("com.microsoft::Attention", "attribute rotary_embedding_dim"): STATE,
    ("com.microsoft::Attention", "input 6"): STATE,
    ("com.microsoft::Attention", "input 2 omitted"): CRASH,
    ("com.microsoft::FusedGemm", "attribute activation_beta"): "no activation of ONNX Runtime's own fusions has it",
    ("com.microsoft::FusedGemm", "attribute activation_gamma"): "no activation of ONNX Runtime's own fusions has it",
    ("com.microsoft::QGemm", "input 8 omitted"): CRASH,
    ("com.microsoft::QLinearAdd", "input 7 omitted"): CRASH,
    ("com.microsoft::QLinearAveragePool", "input 4 omitted"): CRASH,
    ("com.microsoft::QLinearLeakyRelu", "input 4 omitted"): CRASH,
    ("com.microsoft::QLinearMul", "input 7 omitted"): CRASH,
    ("com.microsoft::QLinearSigmoid", "input 4 omitted"): CRASH,
}
