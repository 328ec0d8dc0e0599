import pytest

from fast_sae.chat.kinds import Kind
from fast_sae.features.windows import Shown, Window

BOT, SCAFFOLD, ROLE, CONTENT, END = Kind


def window(*tokens: str, kinds=None) -> Window:
    return Window("test", 3, 8, tokens, tuple(map(int, kinds or [CONTENT] * len(tokens))), None)


def test_the_text_of_a_window_is_its_tokens_put_together():
    assert window("A", "", " b😀", "\n").text == "A b😀\n"


@pytest.mark.parametrize(
    ("tokens", "kinds", "content"),
    [
        (("<s>", "user", "Hi", " there", "<e>"), (BOT, ROLE, CONTENT, CONTENT, END), "Hi there"),
        (("Hi", "<e>", "<s>", "Yes", "<e>", "No"), (CONTENT, END, SCAFFOLD, CONTENT, END, CONTENT), "Hi\nYes\nNo"),
        (("<s>", "user"), (SCAFFOLD, ROLE), ""),
        (("a", "b"), (CONTENT, CONTENT), "ab"),
    ],
)
def test_the_content_leaves_the_template_out_and_breaks_the_line_there(tokens, kinds, content):
    assert window(*tokens, kinds=kinds).content == content


@pytest.mark.parametrize(("activations", "peak", "fires"), [((0.0, 2.5, 1.0), 2.5, True), ((), 0.0, False)])
def test_a_latent_is_as_active_in_a_window_as_at_its_strongest_token(activations, peak, fires):
    shown = Shown(window("a", "b", "c"), activations, "firing", 1, 2.0)
    assert (shown.activation, shown.fires) == (peak, fires)
