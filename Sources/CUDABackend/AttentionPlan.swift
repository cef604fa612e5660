/// What a batch asks of attention, from the host's copies of its lengths.
package struct AttentionWork {
    /// Query heads that share a key head: each token gives so many tile rows.
    let rowsPerToken: Int
    private(set) var narrowTiles = 0
    private(set) var wideTiles = 0
    package private(set) var sequences = 0
    /// Tile rows of all sequences, and of the longest.
    private(set) var rows = 0
    private(set) var longestRows = 0
    /// The most keys of a sequence.
    private(set) var keys = 0
    /// The most keys of a sequence that is one narrow tile.
    private(set) var keysOfShort = 0

    package init(rowsPerToken: Int) { self.rowsPerToken = rowsPerToken }

    package mutating func add(tokens: Int, keys: Int) {
        let rows = tokens * rowsPerToken
        narrowTiles += (rows + AttentionPlan.narrowRows - 1) / AttentionPlan.narrowRows
        wideTiles += (rows + AttentionPlan.wideRows - 1) / AttentionPlan.wideRows
        self.rows += rows
        sequences += 1
        longestRows = max(longestRows, rows)
        self.keys = max(self.keys, keys)
        if rows <= AttentionPlan.narrowRows { keysOfShort = max(keysOfShort, keys) }
    }
}

/// How tiles are numbered; see vlm_cuda_attention.h.
package struct AttentionTiles {
    /// Tiles in the grid, some of them empty.
    package let count: Int
    /// Tiles of each sequence, 0 when they are numbered through all.
    package let perSequence: Int

    package init(_ work: AttentionWork, tileRows: Int) {
        let longest = max((work.longestRows + tileRows - 1) / tileRows, 1)
        let through = work.rows / tileRows + work.sequences
        (count, perSequence) = longest * work.sequences <= through ? (longest * work.sequences, longest) : (through, 0)
    }
}

/// How attention on tensor cores is launched; see attention.cu.
package struct AttentionPlan {
    /// Tile rows of the two kernels, and keys of a tile.
    package static let narrowRows = 64
    package static let wideRows = 128
    package static let tileKeys = 64
    /// Of a part of a row and head: four floats of its softmax. Its sums follow those of all parts.
    package static let weightBytes = 16

    package let isWide: Bool
    package let sharedBytes: Int
    /// Parts the keys of a tile are divided into at most, 1 for none.
    package let parts: Int
    /// Keys of a part at least, whole tiles.
    package let partKeys: Int
    /// Sequences of more tile rows are not divided.
    package let dividedRows: Int

    package var tileRows: Int { isWide ? Self.wideRows : Self.narrowRows }

    /// - Parameters:
    ///   - rows: tokens of the batch.
    ///   - partialBytes: room for the parts' results.
    package init(
        _ work: AttentionWork, rows: Int, heads: Int, kvHeads: Int, headSize: Int, multiprocessors: Int, partialBytes: Int
    ) {
        // Two blocks or more fit a multiprocessor.
        let slots = 2 * multiprocessors
        // Wide tiles read shared memory half as often; they pay when there are enough of them and they are full.
        isWide =
            headSize <= 128 && work.wideTiles * kvHeads >= slots
            && work.wideTiles * Self.wideRows * 10 <= work.narrowTiles * Self.narrowRows * 11
        // Rows of 16-bit elements, padded to fragments of 16, and 16 bytes that keep rows off each other's banks.
        let pitch = (headSize + 15) / 16 * 32 + 16
        sharedBytes = ((isWide ? Self.wideRows : Self.narrowRows) + 2 * Self.tileKeys) * pitch

        let blocks = work.narrowTiles * kvHeads
        let room = partialBytes / max(rows * heads * (headSize * 4 + Self.weightBytes), 1)
        var (parts, keys, dividedRows) = (1, 0, Int.max)
        if blocks > 0, blocks * 2 <= slots, work.keys >= 1024 {
            // Too few tiles to fill the device.
            parts = min(slots / blocks, work.keys / 512, room)
            keys = parts > 1 ? (work.keys + parts - 1) / parts : 0
        } else if work.keysOfShort >= 4096 {
            // Tiles enough, but short sequences of long contexts would end last.
            keys = 2048
            parts = min((work.keysOfShort + keys - 1) / keys, room)
            dividedRows = Self.narrowRows
        }
        self.parts = max(parts, 1)
        self.partKeys = (keys + Self.tileKeys - 1) / Self.tileKeys * Self.tileKeys
        self.dividedRows = dividedRows
    }
}

/// How attention in float32 is launched; see attention_scalar.cu.
package struct ScalarAttentionPlan {
    package let tileRows: Int
    package let sharedBytes: Int

    package init(headSize: Int) {
        tileRows = 16 * (headSize <= 128 ? 4 : headSize <= 256 ? 2 : 1)
        let tileKeys = headSize <= 256 ? 32 : 16
        let pitch = (headSize + 3) / 4 * 4 + 4
        sharedBytes = ((tileRows + tileKeys) * pitch + tileRows * (tileKeys + 4)) * 4
    }
}
