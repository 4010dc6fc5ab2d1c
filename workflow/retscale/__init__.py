"""retscale: how does dense retrieval grow with the compute a language model was pretrained with?"""
