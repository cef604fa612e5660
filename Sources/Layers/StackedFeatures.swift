package import Tensors

/// What one image gives a language model, side by side in the rows of one tensor `[n, D · (1 + L)]`: first the embeddings of its tokens, then what
/// each of the first L layers' outputs gets added at these tokens (DeepStack, arXiv 2406.04334). L is 0 in most models.
///
/// One tensor, so that an image's features are cached, cut into chunks and counted as those of any other model.
package struct StackedFeatures {
    /// `[n, D · (1 + L)]`
    package let rows: Tensor
    /// D
    package let width: Int

    package init(_ rows: Tensor, width: Int) {
        precondition(width > 0 && rows.width >= width && rows.width.isMultiple(of: width), "feature rows of another width")
        self.rows = rows
        self.width = width
    }

    /// L; less than the language model has layers, as the last one computes only the rows that are asked for.
    package var depth: Int { rows.width / width - 1 }

    /// `[n, D]`
    package var embeddings: Tensor { part(0) }

    /// `[n, D]`, to be added to the output of a layer, or nil when that layer gets nothing.
    package func addition(afterLayer index: Int) -> Tensor? {
        index < depth ? part(1 + index) : nil
    }

    private func part(_ index: Int) -> Tensor {
        rows.columns(index * width..<(index + 1) * width)
    }
}
