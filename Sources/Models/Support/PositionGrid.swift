import Layers
import Tensors

/// A square table of learned positions, stretched over the patches of pictures of any size: bilinear between four rows of the table, corners
/// on corners. Transformers 5.17.0 `vision_utils.get_vision_interpolation_indices_and_weights`.
struct PositionGrid {
    private let table: Parameter
    private let side: Int

    /// - Parameter name: of the table `[side · side, width]`, row by row.
    init(_ scope: LayerScope, _ name: String, side: Int, width: Int) throws {
        table = try scope.table(name, rows: side * side, width: width)
        self.side = side
    }

    /// Adds its position to each patch.
    ///
    /// - Parameters:
    ///   - x: `[T, width]`, patches of all images in tower order.
    ///   - grids: `[t, h, w]` of each image in patches.
    func add(to x: Tensor, _ layout: PatchLayout, grids: [[Int]], context: ForwardContext) throws {
        var indices: [Int32] = []
        var weights: [Float] = []
        indices.reserveCapacity(4 * layout.rows.count)
        weights.reserveCapacity(4 * layout.rows.count)
        var patch = 0
        for grid in grids {
            let (vertical, horizontal) = (axis(grid[1]), axis(grid[2]))
            for _ in 0..<grid[0] * grid[1] * grid[2] {
                for row in vertical[Int(layout.rows[patch])] {
                    for column in horizontal[Int(layout.columns[patch])] {
                        indices.append(Int32(row.index * side + column.index))
                        weights.append(row.weight * column.weight)
                    }
                }
                patch += 1
            }
        }
        let shape = Shape(layout.rows.count, 4)
        try context.workspace.scope {
            try context.backend.addRows(
                table.tensor, indices: try context.upload(indices).reshaped(shape),
                weights: try context.upload(weights, shape: shape), into: x)
        }
    }

    /// The two lines of the table on either side of each of `count` lines of patches.
    private func axis(_ count: Int) -> [[(index: Int, weight: Float)]] {
        (0..<count).map { line in
            let place = Float(line) * Float(side - 1) / Float(max(count - 1, 1))
            let first = place.rounded(.down)
            let rest = place - first
            return [(Int(first), 1 - rest), (min(Int(first) + 1, side - 1), rest)]
        }
    }
}
