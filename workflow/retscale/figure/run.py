def run(spec, inputs, out): raise NotImplementedError
