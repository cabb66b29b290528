"""Matrix products and attention."""

from __future__ import annotations

from module_lists.listing import Listing


def products(out: Listing) -> None:
    """Matrix products, linear layers and pairs of them."""
    for rows, cin, cout, act in (
        (1024, 256, 256, "none"),
        (1, 512, 1000, "none"),
        (196, 768, 3072, "gelu"),
        (4096, 1024, 1024, "relu"),
        (16384, 128, 128, "none"),
        (50, 384, 1536, "none"),
        (6272, 96, 384, "gelu"),
        (8192, 4096, 4096, "none"),
        (1, 4096, 4096, "none"),
        (40000, 64, 64, "relu"),
        (784, 192, 576, "none"),
        (16, 2048, 1000, "none"),
        (2048, 8192, 2048, "none"),
    ):
        settings = {"rows": rows, "cin": cin, "cout": cout, "act": act}
        label = f"{rows}x{cin}-{cout}_{act}"
        out.add("linear", "linear", label, settings, cpu=rows * cin * cout < 2.5e8, channels_last=False)
    for batch, tokens, width in (
        (1, 196, 768),
        (8, 196, 384),
        (1, 4096, 96),
        (1, 900, 256),
        (1, 49, 768),
        (16, 256, 512),
    ):
        settings = {"batch": batch, "tokens": tokens, "width": width}
        out.add("mlp", "mlp", f"b{batch}_{tokens}x{width}", settings, cpu=tokens == 49, channels_last=False)
    for batch, m, k, n in (
        (1, 4096, 4096, 4096),
        (8, 1024, 64, 1024),
        (12, 197, 64, 197),
        (64, 64, 64, 64),
        (1, 512, 512, 512),
        (20000, 1, 8, 64),
        (16, 2048, 128, 2048),
        (1, 16384, 64, 16),
        (4, 256, 2048, 256),
    ):
        settings = {"batch": batch, "m": m, "k": k, "n": n}
        small = batch * m * k * n < 2e8
        out.add("matmul", "matmul", f"b{batch}_{m}x{k}x{n}", settings, cpu=small, channels_last=False)


def attentions(out: Listing) -> None:
    """Attention of several heads, plain, fused or in windows."""
    for batch, heads, queries, keys, width in (
        (1, 12, 197, 197, 64),
        (1, 8, 1024, 1024, 32),
        (6, 8, 704, 704, 32),
        (1, 8, 900, 4224, 32),
        (1, 3, 197, 197, 64),
        (16, 12, 197, 197, 64),
        (1, 16, 4096, 4096, 64),
        (256, 4, 49, 49, 32),
        (1, 8, 128, 128, 128),
    ):
        settings = {"batch": batch, "heads": heads, "queries": queries, "keys": keys, "width": width}
        label = f"b{batch}_h{heads}_{queries}x{keys}x{width}"
        out.add("sdpa", "sdpa", label, settings, cpu=batch * heads * queries * keys < 1e6, channels_last=False)
    for batch, tokens, width, heads in (
        (1, 197, 192, 3),
        (1, 197, 768, 12),
        (8, 197, 384, 6),
        (1, 1024, 256, 8),
        (6, 704, 256, 8),
        (1, 2048, 512, 8),
    ):
        settings = {"batch": batch, "tokens": tokens, "width": width, "heads": heads}
        label = f"b{batch}_{tokens}x{width}_h{heads}"
        out.add("attention", "attention", label, settings, cpu=width == 192, channels_last=False)
    for batch, size, width, heads, window, shift in (
        (1, 56, 96, 3, 7, False),
        (1, 128, 64, 4, 8, True),
        (1, 28, 192, 6, 7, True),
        (6, 32, 128, 4, 8, False),
        (8, 56, 96, 3, 7, True),
        (1, 128, 128, 8, 16, False),
    ):
        settings = {"batch": batch, "size": size, "width": width, "heads": heads, "window": window, "shift": shift}
        label = f"b{batch}_{size}_c{width}_h{heads}_w{window}{'_shift' if shift else ''}"
        out.add("window_attention", "window_attention", label, settings, cpu=size == 28, channels_last=False)
