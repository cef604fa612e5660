import SwiftDiagnostics
import SwiftSyntax
import SwiftSyntaxMacros

/// A macro's context that counts what is reported, so that nothing is written for a type that has faults.
final class CountingContext<Base: MacroExpansionContext>: MacroExpansionContext {
    private let base: Base
    private(set) var count = 0

    init(_ base: Base) { self.base = base }

    func diagnose(_ diagnostic: Diagnostic) {
        count += 1
        base.diagnose(diagnostic)
    }

    func makeUniqueName(_ name: String) -> TokenSyntax { base.makeUniqueName(name) }

    func location(
        of node: some SyntaxProtocol, at position: PositionInSyntaxNode, filePathMode: SourceLocationFilePathMode
    ) -> AbstractSourceLocation? {
        base.location(of: node, at: position, filePathMode: filePathMode)
    }

    var lexicalContext: [Syntax] { base.lexicalContext }
}
