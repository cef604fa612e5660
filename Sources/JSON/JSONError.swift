/// Why a JSON document was refused, and where.
package struct JSONError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file or other origin that the caller named.
    package let source: String
    /// Path of the value being read when the fault was met, such as `$.model.vocab` or `$.list[3]`.
    package let path: String
    /// Line of the fault, from 1; 0 when the document could not be read at all.
    package let line: Int
    /// Column of the fault in Unicode scalars, from 1; 0 when the document could not be read at all.
    package let column: Int
    package let message: String

    package init(source: String, path: String = "$", line: Int = 0, column: Int = 0, message: String) {
        self.source = source
        self.path = path
        self.line = line
        self.column = column
        self.message = message
    }

    package var description: String {
        // A document nested without end has a path without end.
        let place = path.count > 200 ? path.prefix(100) + "…" + path.suffix(60) : path[...]
        return line == 0 ? "\(source): \(message)" : "\(source):\(line):\(column): \(message) (at \(place))"
    }
}
