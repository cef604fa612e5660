/// Which tokens of a prompt see one another whole, later ones too. All others see up to themselves.
package enum SpanRule: Sendable, Equatable {
    /// None do.
    case causal
    /// Those of each run of image tokens (Gemma 3: transformers 5.17.0 `modeling_gemma3.py`, `token_type_ids_mask_function`).
    case images
    /// All of the prompt (PaliGemma's prefix, arXiv 2407.07726, section 3.1). What a token of it holds then depends on all others, so no other
    /// prompt can take it up.
    case prompt
}
