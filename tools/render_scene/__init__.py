"""Renders the built-in scene: photo-like frames of items in a recycling bin's inspection tray.

In: nothing but code; every shape, texture, label and brand name is made here. Out: JPEG frames and `story.json`
(device/scene). Run by hand, by whoever changes the scene: `python tools/render_scene --help`.

Needs Python 3.11 and, beside the project's own numpy and OpenCV, Blender as a module, Pillow for lettering and SciPy:
`pip install "bpy==4.4.0" "numpy<2" "opencv-python-headless<4.12" pillow scipy`. `sensor` and `story` import without
them.
"""
