"""Accuracy: NDS and mAP by the official nuScenes code, occupancy mIoU by the Occ3D rule, intervals over scenes."""
