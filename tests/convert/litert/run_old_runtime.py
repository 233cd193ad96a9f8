"""Run in the environment of tflite-runtime 2.14: FILE IMAGE.npy → the logits of every tail, as JSON."""

import json
import sys

import numpy as np
from tflite_runtime.interpreter import Interpreter

interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
features = interpreter.get_signature_runner("prefix")(image=np.load(sys.argv[2]))["features"]
tails = [name for name in interpreter.get_signature_list() if name != "prefix"]
print(
    json.dumps({name: interpreter.get_signature_runner(name)(features=features)["logits"].tolist() for name in tails})
)
