import ArgumentParser
import JSON
import Text

/// `vlm render-template`: what a chat template makes of a context.
struct RenderTemplateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "render-template", abstract: "Render a Jinja chat template as transformers does.")

    @Option(help: "A Jinja file.")
    var template: String
    @Option(help: "A JSON file with the template's variables.")
    var context: String

    func run() throws {
        let source = try readText(template)
        let value = try JSONValue(contentsOf: context)
        guard let variables = value.objectValue else { throw ValidationError("\(context) must hold a JSON object") }
        Terminal.write(try JinjaTemplate(source: source, name: template).render(variables))
    }
}
