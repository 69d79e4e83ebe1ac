"""The app: one file a panel. The only part of hmer that knows gradio and the annotation store."""
