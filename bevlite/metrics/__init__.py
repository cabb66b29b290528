"""Accuracy figures: NDS and mAP by the official nuScenes code, mIoU by the Occ3D rule, intervals over scenes."""
