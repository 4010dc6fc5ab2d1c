"""In-context scoring and generation on a GPU."""

import numpy as np
import pytest
import torch
from icl_models import decoder, tokenizer
from test_icl_gauntlet import FAMILIES, alone, questions, written_one_at_a_time

from retscale.icl.decoder import Decoder
from retscale.icl.generate import generate
from retscale.icl.score import score
from retscale.model.attention import use_fused

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]

CHOSEN = ["llama, smollm2", "mpt", "gpt-neo"]


@pytest.mark.parametrize("family", CHOSEN)
def test_scores_on_a_gpu_are_those_of_one_text_at_a_time_on_the_cpu(family):
    model = decoder(FAMILIES[family])
    joined, owners = questions(np.random.default_rng(0), 20)
    expected = alone(model, joined)
    use_fused(model)
    mean, _ = score(Decoder(model.cuda(), 0), joined, owners, 500, "t")
    np.testing.assert_allclose(mean, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", CHOSEN)
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_texts_on_a_gpu_are_those_of_the_cpu(family, temperature):
    model, words = decoder(FAMILIES[family], scale=4), tokenizer()
    use_fused(model)
    rng = np.random.default_rng(0)
    prompts = [rng.integers(1, 400, n).tolist() for n in (30, 3, 12, 14, 15, 1, 40)]
    expected = [
        written_one_at_a_time(model, words, prompt, row, 12, temperature=temperature, seed=5)
        for row, prompt in enumerate(prompts)
    ]
    assert generate(Decoder(model.cuda(), 0), words, prompts, 12, 300, "t", temperature=temperature, seed=5) == expected
