// A dsnet bundle on Apple's systems: hydrate Core ML programs from nested weights, run what the gates choose.
//
// One file to copy into an app; only Apple's own frameworks; Swift 5 language mode, iOS 16 or macOS 13 and later. It
// follows docs/bundle.md (manifest, nested weights), docs/policies.md and docs/coreml.md, rule by rule.
//
// Written without an Apple machine: it has never been compiled or run.
//
//     let network = try CoreMLNetwork(bundle: folder, precision: "fp16")
//     let dynamic = try await DynamicNetwork(network, operatingPoint: "mean-3ms")
//     let answer = try await dynamic.classify(image)      // answer.label, answer.width, answer.logits

import Compression
import CoreML
import CryptoKit
import Foundation

/// What is wrong with a bundle, in one line.
public struct BundleError: Error, CustomStringConvertible {
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}

// MARK: - Records. Unknown fields are ignored; names in JSON are snake_case.

public struct Manifest: Decodable {
    public struct Model: Decodable {
        public let name: String
        public let classes: [String]
        public let inputSize: Int
        public let mean: [Double]
        public let std: [Double]
    }

    public struct Gate: Decodable {
        public let kind: String
        public let choices: [Int]
    }

    public struct Program: Decodable {
        struct Tensor: Decodable {
            let name: String
        }

        public let name: String
        public let role: String
        /// The widths whose images run it.
        public private(set) var widths: [Int]
        /// Format 1: its one width, or none where all images run it.
        let width: Int?
        /// The name of its one input: image or features.
        public let input: String

        private enum CodingKeys: String, CodingKey {
            case name, role, width, widths, inputs
        }

        public init(from decoder: Decoder) throws {
            let fields = try decoder.container(keyedBy: CodingKeys.self)
            name = try fields.decode(String.self, forKey: .name)
            role = try fields.decode(String.self, forKey: .role)
            guard let first = try fields.decode([Tensor].self, forKey: .inputs).first else {
                throw BundleError("program \(name) has no input")
            }
            input = first.name
            widths = try fields.decodeIfPresent([Int].self, forKey: .widths) ?? []
            width = try fields.decodeIfPresent(Int.self, forKey: .width)
        }

        func serving(_ widths: [Int]) -> Program {
            var program = self
            program.widths = widths
            return program
        }
    }

    public struct Artifact: Decodable {
        public let runtime: String
        public let precision: String
        public let file: String
        public let bytes: Int
        public let sha256: String
        /// In the order in which they run.
        public private(set) var programs: [Program]

        /// What format 1 says, where programs lie in any order: what all images run goes first.
        var ofFirstFormat: Artifact {
            let every = Set(programs.compactMap { $0.width }).sorted()
            let heads = programs.filter { $0.width == nil }.map { $0.serving(every) }
            let others = programs.compactMap { program in program.width.map { program.serving([$0]) } }
            var artifact = self
            artifact.programs = heads + others
            return artifact
        }
    }

    public struct WeightsFile: Decodable {
        public let runtime: String
        public let precision: String
        public let role: String
        public let file: String
        public let bytes: Int
        public let sha256: String
    }

    public let format: String
    public let model: Model
    /// In the order in which they decide.
    public let gates: [Gate]
    public let artifacts: [Artifact]
    public let weights: [WeightsFile]?
    public let operatingPoints: [OperatingPoint]?

    private enum CodingKeys: String, CodingKey {
        case format, model, gate, gates, artifacts, weights, operatingPoints
    }

    public init(from decoder: Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        format = try fields.decode(String.self, forKey: .format)
        model = try fields.decode(Model.self, forKey: .model)
        let read = try fields.decode([Artifact].self, forKey: .artifacts)
        if format == "dsnet-bundle/1" || format.hasPrefix("dsnet-bundle/1.") {
            gates = try fields.decodeIfPresent(Gate.self, forKey: .gate).map { [$0] } ?? []
            artifacts = read.map { $0.ofFirstFormat }
        } else {
            gates = try fields.decode([Gate].self, forKey: .gates)
            artifacts = read
        }
        if let idle = artifacts.flatMap({ $0.programs }).first(where: { $0.widths.isEmpty }) {
            throw BundleError("program \(idle.name) serves no width; convert again")
        }
        weights = try fields.decodeIfPresent([WeightsFile].self, forKey: .weights)
        operatingPoints = try fields.decodeIfPresent([OperatingPoint].self, forKey: .operatingPoints)
    }
}

public struct OperatingPoint: Decodable {
    public let name: String
    public let policy: WidthPolicy
    public let artifactSha256: String

    private enum CodingKeys: String, CodingKey {
        case name, policy, widths, thresholds, artifactSha256
    }

    public init(from decoder: Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        name = try fields.decode(String.self, forKey: .name)
        artifactSha256 = try fields.decode(String.self, forKey: .artifactSha256)
        if fields.contains(.policy) {
            policy = try fields.decode(WidthPolicy.self, forKey: .policy)
        } else {
            // Written before there were several policies.
            policy = try WidthPolicy(
                widths: fields.decode([Int].self, forKey: .widths),
                thresholds: fields.decode([Double].self, forKey: .thresholds))
        }
    }
}

/// How one gate's logits choose between what comes next.
public enum GateRule {
    case thresholds([Double])
    case utility(weights: [[Double]], biases: [Double], penalties: [Double])

    /// The number of what comes next. Logits that are no numbers count as hard.
    func choose(gateLogits: [Float]) throws -> Int {
        switch self {
        case let .thresholds(thresholds):
            let found = score(gateLogits: gateLogits)
            return thresholds.filter { !($0 >= found) }.count
        case let .utility(weights, biases, penalties):
            guard weights[0].count == gateLogits.count else {
                throw BundleError("the policy has weights for \(weights[0].count) gate logits, not \(gateLogits.count)")
            }
            var utilities = [Double]()
            for position in biases.indices {
                var sum = biases[position]
                for (weight, logit) in zip(weights[position], gateLogits) {
                    sum += weight * Double(logit)
                }
                utilities.append(1 / (1 + exp(-sum)) - penalties[position])
            }
            guard let highest = utilities.max(), !utilities.contains(where: { $0.isNaN }) else {
                return biases.count - 1
            }
            return utilities.firstIndex(of: highest) ?? biases.count - 1
        }
    }

    func fits(_ count: Int) -> Bool {
        switch self {
        case let .thresholds(thresholds):
            return thresholds.count + 1 == count && zip(thresholds, thresholds.dropFirst()).allSatisfy { $0 <= $1 }
        case let .utility(weights, biases, penalties):
            let columns = weights.first?.count ?? 0
            let rows = [weights.count, biases.count, penalties.count]
            return rows.allSatisfy { $0 == count } && columns > 0 && weights.allSatisfy { $0.count == columns }
        }
    }
}

/// What is still to be decided: nothing, or what one gate after another chooses.
public indirect enum Choice {
    case width(Int)
    case gate(GateRule, next: [Choice])

    enum CodingKeys: String, CodingKey {
        case thresholds, next
    }

    /// A node of a tree policy: thresholds and what comes next, widths or nodes. Every node ends in widths; `leaves`
    /// counts them, so that no more of a tree is built than the bounds allow.
    static func node(
        _ fields: KeyedDecodingContainer<CodingKeys>, depth: Int = 1, leaves: inout Int
    ) throws -> Choice {
        guard depth <= WidthPolicy.maxGates else {
            throw BundleError("a tree has more than \(WidthPolicy.maxGates) nodes on one another; calibrate again")
        }
        let thresholds = try fields.decode([Double].self, forKey: .thresholds)
        var rest = try fields.nestedUnkeyedContainer(forKey: .next)
        guard !rest.isAtEnd else { throw BundleError("a node of a tree leads nowhere; calibrate again") }
        var next = [Choice]()
        while !rest.isAtEnd {
            if let width = try? rest.decode(Int.self) {
                leaves += 1
                next.append(.width(width))
            } else {
                let below = try rest.nestedContainer(keyedBy: CodingKeys.self)
                next.append(try node(below, depth: depth + 1, leaves: &leaves))
            }
            guard leaves <= WidthPolicy.maxWidths else {
                throw BundleError("a tree with more than \(WidthPolicy.maxWidths) widths; calibrate again")
            }
        }
        return .gate(.thresholds(thresholds), next: next)
    }

    /// The widths that it may still come to.
    var widths: [Int] {
        switch self {
        case let .width(width): return [width]
        case let .gate(_, next): return next.flatMap { $0.widths }
        }
    }

    /// Whether every rule fits what comes next.
    var fits: Bool {
        switch self {
        case .width: return true
        case let .gate(rule, next): return rule.fits(next.count) && next.allSatisfy { $0.fits }
        }
    }
}

/// Which width answers: docs/policies.md.
public struct WidthPolicy: Decodable {
    static let maxGates = 8, maxWidths = 256

    /// Narrow → wide. Positions are indices into them.
    public let widths: [Int]
    /// What the gates decide; a width where they decide nothing, of a cascade its first.
    public let root: Choice
    /// Of a cascade: the least confidence with which each width but the last answers; empty otherwise.
    public let confidences: [Double]

    private enum CodingKeys: String, CodingKey {
        case kind, widths, thresholds, weights, biases, penalties, confidences, root
    }

    init(widths: [Int], root: Choice, confidences: [Double] = []) throws {
        let reached = root.widths
        let reachesAll = confidences.isEmpty ? Set(reached) == Set(widths) : confidences.count + 1 == widths.count
        guard !widths.isEmpty, zip(widths, widths.dropFirst()).allSatisfy({ $0 < $1 }), root.fits, reachesAll,
            reached.count <= Self.maxWidths, confidences.allSatisfy({ $0 >= 0 })
        else {
            throw BundleError("the numbers of an operating point do not fit its widths; calibrate again")
        }
        self.widths = widths
        self.root = widths.count == 1 ? .width(widths[0]) : root
        self.confidences = confidences
    }

    init(widths: [Int], thresholds: [Double]) throws {
        try self.init(widths: widths, root: .gate(.thresholds(thresholds), next: widths.map { .width($0) }))
    }

    public init(from decoder: Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        let numbers = { (key: CodingKeys) in try fields.decode([Double].self, forKey: key) }
        let kind = try fields.decode(String.self, forKey: .kind)
        let widths = try fields.decode([Int].self, forKey: .widths)
        switch kind {
        case "thresholds":
            try self.init(widths: widths, thresholds: numbers(.thresholds))
        case "tree":
            var leaves = 0
            let root = try fields.nestedContainer(keyedBy: Choice.CodingKeys.self, forKey: .root)
            try self.init(widths: widths, root: Choice.node(root, leaves: &leaves))
        case "utility":
            let weights = try fields.decode([[Double]].self, forKey: .weights)
            let rule = GateRule.utility(weights: weights, biases: try numbers(.biases), penalties: try numbers(.penalties))
            try self.init(widths: widths, root: .gate(rule, next: widths.map { .width($0) }))
        case "cascade":
            guard let first = widths.first else { throw BundleError("a cascade of no width; calibrate again") }
            try self.init(widths: widths, root: .width(first), confidences: numbers(.confidences))
        default:
            throw BundleError("policy kind \(kind) is unknown; valid: thresholds, tree, utility, cascade; update this file")
        }
    }

    /// Whether any gate's logits are needed to choose.
    public var asksGate: Bool {
        if case .gate = root { return true }
        return false
    }

    /// Whether the answer of the width at a position stands; if not, the next one runs as well.
    public func stands(at position: Int, logits: [Float]) -> Bool {
        position >= confidences.count || confidence(logits: logits) >= confidences[position]
    }
}

struct CoreMLIndex: Decodable {
    let format: String
    let specificationVersion: Int
    let imageInput: String
    let functions: [String]
    let recipeSha256: String
}

struct Recipe: Decodable {
    struct Tensor: Decodable {
        let dtype: String
        let shape: [Int]
        let offset: Int
    }

    struct Slice: Decodable {
        let tensor: Int
        let shape: [Int]
        let scale: Int?
        let axis: Int?
        let cast: String?
        let positions: [Int]?
    }

    struct File: Decodable {
        let path: String
        let bytes: Int
        let sha256: String
        let offset: Int
        let compressedBytes: Int
        let literalBytes: Int
        let pieces: [[Int]]
    }

    let format: String
    let storeBytes: Int
    let templateBytes: Int
    let tensors: [Tensor]
    let slices: [Slice]
    let files: [File]
}

// MARK: - The bundle's folder

/// A bundle whose manifest has been read; its files are checked when they are asked for.
public struct BundleFolder {
    public let root: URL
    public let manifest: Manifest

    static let maxJSONBytes = 16 << 20

    public init(at root: URL) throws {
        self.root = root.resolvingSymlinksInPath()
        let data = try Data(contentsOf: self.root.appendingPathComponent("manifest.json"))
        manifest = try Self.decode(Manifest.self, data, format: "dsnet-bundle", newest: 2, of: \.format)
    }

    /// The content of a file of the manifest, after its place, size and SHA-256 have been checked.
    func verified(_ file: String, bytes: Int, sha256: String) throws -> Data {
        let parts = file.split(separator: "/", omittingEmptySubsequences: false)
        let isPlain = parts.allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." }
        guard isPlain, !file.contains("\\"), !file.contains(":") else {
            throw BundleError("file name \(file) must be relative to the bundle, without '.' or '..' parts")
        }
        let path = root.appendingPathComponent(file).resolvingSymlinksInPath()
        guard path.path.hasPrefix(root.path + "/") else {
            throw BundleError("\(file): a link leads outside the bundle")
        }
        let size = try path.resourceValues(forKeys: [.fileSizeKey]).fileSize
        guard size == bytes else {
            throw BundleError("\(file): not the size that the manifest says; copy the bundle again")
        }
        let data = try Data(contentsOf: path, options: .mappedIfSafe)
        guard hexadecimal(SHA256.hash(data: data)) == sha256 else {
            throw BundleError("\(file): not the SHA-256 that the manifest says; copy the bundle again")
        }
        return data
    }

    /// A record of a known format; newer minor versions are fine, newer major versions are refused by name.
    static func decode<T: Decodable>(
        _ type: T.Type, _ data: Data, format: String, newest: Int = 1, of found: KeyPath<T, String>
    ) throws -> T {
        guard data.count <= maxJSONBytes else { throw BundleError("\(format): larger than \(maxJSONBytes) bytes") }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let record: T
        do {
            record = try decoder.decode(type, from: data)
        } catch let error as BundleError {
            throw error
        } catch {
            throw BundleError("not a \(format) record: \(error)")
        }
        let name = record[keyPath: found]
        let known = (1 ... newest).map { "\(format)/\($0)" }
        guard known.contains(where: { name == $0 || name.hasPrefix("\($0).") }) else {
            throw BundleError("format is \(name); this reader knows \(known.joined(separator: " and "))")
        }
        return record
    }
}

private func hexadecimal(_ digest: SHA256.Digest) -> String {
    digest.map { String(format: "%02x", $0) }.joined()
}

// MARK: - Nested weights: docs/bundle.md, "Nested weights outside of a runtime's file"

/// A store, its recipe and its templates. Everything a recipe says is checked before anything is allocated.
struct NestedWeights {
    let recipe: Recipe
    let store: Data
    let template: Data

    /// Of numbers in a recipe; products are checked against it, so nothing overflows.
    static let limit = 1 << 30
    static let alignment = 64
    static let itemBytes = ["float32": 4, "float16": 2, "int32": 4, "int8": 1]

    init(recipe: Recipe, store: Data, template: Data) throws {
        self.recipe = recipe
        self.store = store
        self.template = template
        guard store.count == recipe.storeBytes, template.count == recipe.templateBytes else {
            throw BundleError("the recipe is for a store or template of another size; copy the bundle again")
        }
        for tensor in recipe.tensors {
            let bytes = try Self.bytes(tensor.shape, tensor.dtype)
            guard tensor.offset >= 0, tensor.offset % Self.alignment == 0, tensor.offset <= store.count - bytes else {
                throw BundleError("a tensor of the recipe lies outside the store")
            }
        }
        try recipe.slices.forEach(check)
        try recipe.files.forEach(check)
    }

    /// A plain file as it was converted, byte for byte; anything else is an error.
    func file(_ path: String) throws -> Data {
        guard let file = recipe.files.first(where: { $0.path == path }) else {
            throw BundleError("no file \(path) in this recipe")
        }
        let literals = try inflated(file)
        var result = Data(capacity: file.bytes)
        var done = 0
        for piece in file.pieces {
            result += literals[done ..< done + piece[0]]
            result += slice(recipe.slices[piece[1]])
            done += piece[0]
        }
        result += literals[done...]
        guard hexadecimal(SHA256.hash(data: result)) == file.sha256 else {
            throw BundleError("\(path): the rebuilt file is not the one that was converted; copy the bundle again")
        }
        return result
    }

    func has(_ path: String) -> Bool {
        recipe.files.contains { $0.path == path }
    }

    // MARK: Checks

    private static func bytes(_ shape: [Int], _ dtype: String) throws -> Int {
        guard let item = itemBytes[dtype] else { throw BundleError("the recipe holds the unknown type \(dtype)") }
        guard shape.count == 3 else { throw BundleError("the recipe holds a shape of \(shape.count) sizes, not 3") }
        var product = item
        for size in shape {
            // Below 2³⁰ each: the product of two stays below 2⁶⁰.
            guard size >= 1, size < limit, product * size < limit else {
                throw BundleError("the recipe holds a size beyond 2³⁰")
            }
            product *= size
        }
        return product
    }

    private func dtype(_ slice: Recipe.Slice) -> String {
        slice.cast ?? (slice.scale == nil ? recipe.tensors[slice.tensor].dtype : "float32")
    }

    private func check(_ slice: Recipe.Slice) throws {
        guard recipe.tensors.indices.contains(slice.tensor) else { throw BundleError("a slice of no tensor") }
        let tensor = recipe.tensors[slice.tensor]
        guard slice.shape.count == 3, zip(slice.shape, tensor.shape).allSatisfy({ $0 >= 1 && $0 <= $1 }) else {
            throw BundleError("a slice takes \(slice.shape) of \(tensor.shape)")
        }
        if let positions = slice.positions {
            guard recipe.format != "dsnet-recipe/1", !recipe.format.hasPrefix("dsnet-recipe/1.") else {
                throw BundleError("a slice with positions, which dsnet-recipe/1 has not")
            }
            guard positions.count == slice.shape[1], Set(positions).count == positions.count,
                  positions.allSatisfy({ $0 >= 0 && $0 < tensor.shape[1] })
            else { throw BundleError("a slice whose positions are not \(slice.shape[1]) of \(tensor.shape[1])") }
        }
        let isFloat = tensor.dtype == "float32" || tensor.dtype == "float16"
        switch (slice.scale, slice.axis) {
        case (nil, nil):
            guard slice.cast == nil || tensor.dtype == "float32" else {
                throw BundleError("a cast of what is not float32")
            }
        case let (scale?, axis?):
            guard recipe.tensors.indices.contains(scale), axis == 0 || axis == 2 else {
                throw BundleError("a scale that is none")
            }
            let vector = recipe.tensors[scale]
            guard isFloat, vector.dtype == "float32", vector.shape[0] == 1, vector.shape[1] == 1,
                  vector.shape[2] >= slice.shape[axis]
            else { throw BundleError("a scale that does not fit its slice") }
        default:
            throw BundleError("scale and axis go together")
        }
        guard slice.cast == nil || slice.cast == "float16" else { throw BundleError("a cast to \(slice.cast ?? "")") }
    }

    private func check(_ file: Recipe.File) throws {
        let inRange = { (value: Int) in value >= 0 && value < Self.limit }
        guard inRange(file.offset), inRange(file.compressedBytes), inRange(file.literalBytes), inRange(file.bytes),
              file.offset + file.compressedBytes <= template.count
        else { throw BundleError("\(file.path) lies outside the template") }
        var literals = 0, slices = 0
        for piece in file.pieces {
            guard piece.count == 2, inRange(piece[0]), recipe.slices.indices.contains(piece[1]) else {
                throw BundleError("\(file.path): a piece that is none")
            }
            let slice = recipe.slices[piece[1]]
            literals += piece[0]
            slices += try Self.bytes(slice.shape, dtype(slice))
            guard literals <= file.literalBytes, slices <= file.bytes else { break }
        }
        guard literals <= file.literalBytes, file.literalBytes + slices == file.bytes else {
            throw BundleError("\(file.path): its literals and slices do not add up to \(file.bytes) bytes")
        }
    }

    // MARK: Bytes

    private func inflated(_ file: Recipe.File) throws -> [UInt8] {
        let start = template.startIndex + file.offset
        let stream = template[start ..< start + file.compressedBytes]
        // One byte more than there should be shows a stream that goes on. COMPRESSION_ZLIB is raw DEFLATE.
        var literals = [UInt8](repeating: 0, count: file.literalBytes + 1)
        let count = stream.withUnsafeBytes { (source: UnsafeRawBufferPointer) -> Int in
            guard let start = source.bindMemory(to: UInt8.self).baseAddress else { return 0 }
            return compression_decode_buffer(&literals, literals.count, start, source.count, nil, COMPRESSION_ZLIB)
        }
        guard count == file.literalBytes else { throw BundleError("\(file.path): its template is damaged") }
        literals.removeLast()
        return literals
    }

    private func slice(_ slice: Recipe.Slice) -> Data {
        let tensor = recipe.tensors[slice.tensor]
        return store.withUnsafeBytes { all in
            if slice.scale == nil && slice.cast == nil {
                return copied(all, tensor, slice)
            }
            let values = scaled(all, tensor, slice)
            return slice.cast == nil ? bytes(values.map(\.bitPattern)) : bytes(values.map(half))
        }
    }

    private func copied(_ all: UnsafeRawBufferPointer, _ tensor: Recipe.Tensor, _ slice: Recipe.Slice) -> Data {
        let (a, b, c) = (slice.shape[0], slice.shape[1], slice.shape[2])
        let (rows, columns, item) = (tensor.shape[1], tensor.shape[2], Self.itemBytes[tensor.dtype]!)
        var result = Data(capacity: a * b * c * item)
        for i in 0 ..< a {
            // Whole columns of the first positions lie without gaps.
            let (count, length) = c == columns && slice.positions == nil ? (1, b * c) : (b, c)
            for j in 0 ..< count {
                let start = tensor.offset + (i * rows + (slice.positions?[j] ?? j)) * columns * item
                result.append(contentsOf: all[start ..< start + length * item])
            }
        }
        return result
    }

    private func scaled(_ all: UnsafeRawBufferPointer, _ tensor: Recipe.Tensor, _ slice: Recipe.Slice) -> [Float] {
        let (a, b, c) = (slice.shape[0], slice.shape[1], slice.shape[2])
        let (rows, columns, item) = (tensor.shape[1], tensor.shape[2], Self.itemBytes[tensor.dtype]!)
        let scale = slice.scale.map { floats(all, recipe.tensors[$0]) } ?? [1]
        let (perRow, perColumn) = (slice.axis == 0 ? 1 : 0, slice.axis == 2 ? 1 : 0)
        var values = [Float]()
        values.reserveCapacity(a * b * c)
        for i in 0 ..< a {
            for j in 0 ..< b {
                let position = slice.positions?[j] ?? j
                for k in 0 ..< c {
                    let offset = tensor.offset + item * ((i * rows + position) * columns + k)
                    let value = item == 2 ? halfNumber(all, offset) : number(all, offset)
                    values.append(value * scale[i * perRow + k * perColumn])
                }
            }
        }
        return values
    }

    private func floats(_ all: UnsafeRawBufferPointer, _ vector: Recipe.Tensor) -> [Float] {
        (0 ..< vector.shape[2]).map { number(all, vector.offset + 4 * $0) }
    }

    private func number(_ all: UnsafeRawBufferPointer, _ offset: Int) -> Float {
        Float(bitPattern: UInt32(littleEndian: all.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
    }

    private func halfNumber(_ all: UnsafeRawBufferPointer, _ offset: Int) -> Float {
        single(UInt16(littleEndian: all.loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
    }

    /// The bytes of numbers; Apple's processors are little-endian, as the format is.
    private func bytes<T: FixedWidthInteger>(_ numbers: [T]) -> Data {
        numbers.withUnsafeBytes { Data($0) }
    }
}

/// A float16's bits as float32, which is exact. By hand, because Float16 is not there on every Mac.
private func single(_ bits: UInt16) -> Float {
    let exponent = UInt32(bits >> 10) & 31
    let fraction = UInt32(bits & 1023)
    let sign = UInt32(bits & 0x8000) << 16
    if exponent == 0 {
        let magnitude = Float(fraction) * 0x1p-24
        return sign == 0 ? magnitude : -magnitude
    }
    return Float(bitPattern: sign | (exponent == 31 ? 0x7F80_0000 : (exponent + 112) << 23) | fraction << 13)
}

/// A float32 rounded to float16's bits: to nearest, ties to even, subnormals kept, infinity beyond the range.
private func half(_ value: Float) -> UInt16 {
    let sign = UInt16(truncatingIfNeeded: value.bitPattern >> 16) & 0x8000
    let magnitude = value.bitPattern & 0x7FFF_FFFF
    if magnitude > 0x7F80_0000 { return sign | 0x7E00 }
    if magnitude >= 0x4780_0000 { return sign | 0x7C00 }
    if magnitude < 0x3880_0000 {
        // Numbers from 0.5 on have steps of 2⁻²⁴, a float16 subnormal's: adding 0.5 rounds to them.
        let rounded = Float(bitPattern: magnitude) + 0.5
        return sign | UInt16(rounded.bitPattern - 0x3F00_0000)
    }
    let rounded = magnitude + 0xFFF + ((magnitude >> 13) & 1)
    return sign | UInt16((rounded - 0x3800_0000) >> 13)
}

// MARK: - Core ML

/// The Core ML artifact of one precision. Programs are loaded one by one, each with its own weights alone.
public final class CoreMLNetwork: @unchecked Sendable {  // every property is a constant value
    public let folder: BundleFolder
    public let artifact: Manifest.Artifact
    let index: CoreMLIndex
    let weights: NestedWeights

    public init(bundle: URL, precision: String) throws {
        let opened = try BundleFolder(at: bundle)
        let fits = { (runtime: String, of: String) in runtime == "coreml" && of == precision }
        guard let found = opened.manifest.artifacts.first(where: { fits($0.runtime, $0.precision) }) else {
            throw BundleError("no coreml \(precision) artifact in this bundle")
        }
        let data = try opened.verified(found.file, bytes: found.bytes, sha256: found.sha256)
        let index = try BundleFolder.decode(CoreMLIndex.self, data, format: "dsnet-coreml", of: \.format)
        let files = (opened.manifest.weights ?? []).filter { fits($0.runtime, $0.precision) }
        let read = { (role: String) throws -> Data in
            guard let item = files.first(where: { $0.role == role }) else {
                throw BundleError("coreml \(precision) has no \(role) in `weights`")
            }
            guard role != "recipe" || item.sha256 == index.recipeSha256 else {
                throw BundleError("the index names another recipe than the manifest; copy the bundle again")
            }
            return try opened.verified(item.file, bytes: item.bytes, sha256: item.sha256)
        }
        let recipe = try BundleFolder.decode(Recipe.self, read("recipe"), format: "dsnet-recipe", newest: 2, of: \.format)
        weights = try NestedWeights(recipe: recipe, store: read("store"), template: read("template"))
        folder = opened
        artifact = found
        self.index = index
    }

    /// What an image passes through that a width answers, in order; a side gate, which decides alone, first.
    public func programs(width: Int) throws -> [Manifest.Program] {
        let found = artifact.programs.filter { $0.widths.contains(width) }
        guard !found.isEmpty else { throw BundleError("width \(width) is not in this bundle") }
        return found
    }

    /// Rebuild one program and load it: from memory on iOS 18 and later, else through a temporary package.
    public func load(
        _ program: Manifest.Program, configuration: MLModelConfiguration = .init()
    ) async throws -> MLModel {
        let package = "\(program.name).mlpackage"
        let weightsPath = "\(package)/Data/com.apple.CoreML/weights/weight.bin"
        if #available(iOS 18, macOS 15, tvOS 18, visionOS 2, *) {
            let specification = try weights.file("\(package)/Data/com.apple.CoreML/model.mlmodel")
            let asset: MLModelAsset
            if weights.has(weightsPath) {
                // The specification says @model_path/weights/weight.bin; the mapping's keys are relative to that.
                let blobs = [URL(string: "weights/weight.bin")!: try weights.file(weightsPath)]
                asset = try MLModelAsset(specification: specification, blobMapping: blobs)
            } else {
                asset = try MLModelAsset(specification: specification)
            }
            return try await MLModel.load(asset: asset, configuration: configuration)
        }
        let place = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: place) }
        try write(program, to: place)
        let compiled = try await MLModel.compileModel(at: place.appendingPathComponent(package))
        defer { try? FileManager.default.removeItem(at: compiled) }
        return try await MLModel.load(contentsOf: compiled, configuration: configuration)
    }

    /// Write one program's package, PROGRAM.mlpackage, into a folder.
    public func write(_ program: Manifest.Program, to folder: URL) throws {
        let prefix = "\(program.name).mlpackage/"
        for file in weights.recipe.files where file.path.hasPrefix(prefix) {
            let parts = file.path.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." }), !file.path.contains("\\") else {
                throw BundleError("file name \(file.path) must be relative, without '.' or '..' parts")
            }
            let path = folder.appendingPathComponent(file.path)
            try FileManager.default.createDirectory(
                at: path.deletingLastPathComponent(), withIntermediateDirectories: true)
            try weights.file(file.path).write(to: path, options: .atomic)
        }
    }

    /// One function of a package that `dsnet hydrate` wrote and Xcode compiled into the app.
    @available(iOS 18, macOS 15, tvOS 18, visionOS 2, *)
    public static func load(compiled: URL, function: String) async throws -> MLModel {
        let configuration = MLModelConfiguration()
        configuration.functionName = function
        return try await MLModel.load(contentsOf: compiled, configuration: configuration)
    }
}

// MARK: - Choosing a width

/// Σ_j j · softmax(gate logits)_j, in float64.
public func score(gateLogits: [Float]) -> Double {
    softmax(gateLogits).enumerated().reduce(0) { $0 + Double($1.offset) * $1.element }
}

/// The top-1 softmax probability, in float64.
public func confidence(logits: [Float]) -> Double {
    let probabilities = softmax(logits)
    return probabilities.contains { $0.isNaN } ? .nan : probabilities.max() ?? .nan
}

private func softmax(_ logits: [Float]) -> [Double] {
    let exact = logits.map { Double($0) }
    let largest = exact.max() ?? 0
    let weights = exact.map { exp($0 - largest) }
    let sum = weights.reduce(0, +)
    return weights.map { $0 / sum }
}

/// The programs of one operating point, each loaded when an image first needs it, and run as the gates choose.
public actor DynamicNetwork {
    public struct Answer {
        public let label: String
        /// The width that answered.
        public let width: Int
        /// The first gate's score; nil when no gate ran.
        public let score: Double?
        public let logits: [Float]
    }

    /// What programs gave for one image, by the names of all that ran up to each.
    private typealias Outputs = [[String]: MLFeatureProvider]

    private let network: CoreMLNetwork
    private let point: OperatingPoint
    private var models: [String: MLModel] = [:]

    public init(_ network: CoreMLNetwork, operatingPoint name: String) async throws {
        guard let point = network.folder.manifest.operatingPoints?.first(where: { $0.name == name }) else {
            throw BundleError("no operating point \(name) in this bundle")
        }
        guard point.artifactSha256 == network.artifact.sha256 else {
            throw BundleError("operating point \(name) holds thresholds of another bundle; calibrate again")
        }
        self.network = network
        self.point = point
        // What every image runs, if anything.
        let first = try programs(width: point.policy.widths[0])[0]
        if point.policy.widths.allSatisfy({ first.widths.contains($0) }) { _ = try await model(first) }
    }

    /// Classify one image: an MLMultiArray, float32 [1, 3, size, size], (x / 255 − mean) / std; or, if the bundle was
    /// converted with --image-input pixels, a CVPixelBuffer of that size, `MLFeatureValue(pixelBuffer:)`.
    public func classify(_ image: MLFeatureValue) async throws -> Answer {
        let policy = point.policy
        var outputs = Outputs()
        var choice = policy.root
        var decisions = 0
        while case let .gate(rule, next) = choice {
            var chosen = 0
            decisions += 1
            if next.count > 1 {
                let last = try await run(shared(by: choice.widths, decisions), image, &outputs)
                chosen = try rule.choose(gateLogits: numbers(last, "gate_logits"))
            }
            choice = next[chosen]
        }
        guard var position = policy.widths.firstIndex(of: choice.widths[0]) else {
            throw BundleError("width \(choice.widths[0]) is not of the operating point")
        }
        var last = try await run(programs(width: policy.widths[position])[...], image, &outputs)
        while !policy.stands(at: position, logits: try numbers(last, "logits")) {
            position += 1
            last = try await run(programs(width: policy.widths[position])[...], image, &outputs)
        }
        let logits = try numbers(last, "logits")
        let classes = network.folder.manifest.model.classes
        guard let best = logits.indices.max(by: { logits[$0] < logits[$1] }), best < classes.count else {
            throw BundleError("the network gave \(logits.count) logits for \(classes.count) classes")
        }
        let width = policy.widths[position]
        var hardness: Double?
        if let head = try outputs[[programs(width: width)[0].name]], head.featureValue(for: "gate_logits") != nil {
            hardness = score(gateLogits: try numbers(head, "gate_logits"))
        }
        return Answer(label: classes[best], width: width, score: hardness, logits: logits)
    }

    /// What a width runs; a side gate only where the policy asks it.
    private func programs(width: Int) throws -> [Manifest.Program] {
        let asksGate = point.policy.asksGate
        return try network.programs(width: width).filter { $0.role != "gate" || asksGate }
    }

    /// The first programs that widths run, which must be the same for all of them.
    private func shared(by widths: [Int], _ count: Int) throws -> ArraySlice<Manifest.Program> {
        let ways = try widths.map { try programs(width: $0).prefix(count) }
        guard Set(ways.map { $0.map { $0.name } }).count == 1 else {
            throw BundleError("widths that a gate chooses between do not run the same before it; calibrate again")
        }
        return ways[0]
    }

    /// Run programs one after another, those that have run for this image not again, and return what the last one gives.
    private func run(
        _ way: ArraySlice<Manifest.Program>, _ image: MLFeatureValue, _ outputs: inout Outputs
    ) async throws -> MLFeatureProvider {
        var names = [String]()
        var last: MLFeatureProvider?
        for program in way {
            names.append(program.name)
            if let there = outputs[names] {
                last = there
                continue
            }
            let given = program.input == "image" ? image : features(last)
            guard let value = given else { throw BundleError("\(program.name) reads features that nothing gave") }
            last = try predict(await model(program), program.input, value)
            outputs[names] = last
        }
        guard let found = last else { throw BundleError("there is no program to run") }
        return found
    }

    /// The features that a program gave. A stage, which reads `features`, gives `next_features`.
    private func features(_ outputs: MLFeatureProvider?) -> MLFeatureValue? {
        outputs?.featureValue(for: "next_features") ?? outputs?.featureValue(for: "features")
    }

    private func model(_ program: Manifest.Program) async throws -> MLModel {
        if let loaded = models[program.name] { return loaded }
        let loaded = try await network.load(program)
        models[program.name] = loaded
        return loaded
    }

    /// Not `async`, so that Core ML's synchronous prediction is meant, which iOS 16 has too.
    private func predict(_ model: MLModel, _ name: String, _ value: MLFeatureValue) throws -> MLFeatureProvider {
        try model.prediction(from: MLDictionaryFeatureProvider(dictionary: [name: value]))
    }

    private func numbers(_ features: MLFeatureProvider, _ name: String) throws -> [Float] {
        guard let array = features.featureValue(for: name)?.multiArrayValue else {
            throw BundleError("the program gave no \(name)")
        }
        return (0 ..< array.count).map { array[$0].floatValue }
    }
}
