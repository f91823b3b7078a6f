"""Measures rate, distortion and speed of `.nic` and of the other formats that Pillow can save.

    python -m pillow_neural.benchmark holdout TRAINING_DATA --output holdout
    python -m pillow_neural.benchmark report kodak holdout --output OUT_DIR --reuse
    python -m pillow_neural.benchmark run FOLDER --output OUT_DIR --peers
    python -m pillow_neural.benchmark layers FOLDER --codec johnston2018 --output OUT_DIR
    python -m pillow_neural.benchmark crops PICTURE ... --bpp 0.1 0.25 0.5 --output crops.png

Every codec is measured through Pillow's public API: saved to memory, counted in real bytes, opened again.
"""
