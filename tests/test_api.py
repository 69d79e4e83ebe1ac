"""What programs ask leaves nothing behind in the server."""

import gradio as gr
import pytest
from gradio.context import LocalContext

from hmer.ui.api import without_session


@pytest.mark.parametrize("fails", [False, True])
def test_a_plain_request_leaves_no_session(fails: bool) -> None:
    with gr.Blocks() as blocks:
        gr.State(0)
    blocks.state_holder.set_blocks(blocks)
    for name in ("program", "person"):
        assert blocks.state_holder[name] is not None

    def endpoint() -> str:
        if fails:
            raise ValueError("no picture")
        return "x"

    request = gr.Request(session_hash="program")
    tokens = LocalContext.request.set(request), LocalContext.blocks.set(blocks)
    try:
        if fails:
            with pytest.raises(ValueError, match="no picture"):
                without_session(endpoint)()
        else:
            assert without_session(endpoint)() == "x"
    finally:
        LocalContext.request.reset(tokens[0])
        LocalContext.blocks.reset(tokens[1])
    assert list(blocks.state_holder.session_data) == ["person"]
    assert without_session(lambda: 1)() == 1  # called from Python
