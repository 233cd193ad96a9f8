package io.github.dsnetedge.core.nested

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.SharedFiles
import io.github.dsnetedge.core.mutants
import io.github.dsnetedge.core.refusal
import java.io.ByteArrayOutputStream
import java.io.File
import org.junit.Assert.assertTrue
import org.junit.Test

class RecipeReaderTest {
    @Test
    fun `malformed recipes are refused`() {
        val files = SharedFiles.malformed("recipes", "recipe")
        assertTrue("only ${files.size}", files.size >= 30)
        for (file in files) {
            try {
                refusal { readRecipe(file.readBytes()) }
            } catch (error: AssertionError) {
                throw AssertionError("${file.name} was read", error)
            }
        }
    }

    @Test
    fun `float16 is refused`() {
        val text = File(SharedFiles.golden, "nested/recipe.json").readText()
        refusal { readRecipe(text.replaceFirst("float32", "float16").toByteArray()) }
        refusal { readRecipe(text.replaceFirst("\"tensor\":", "\"cast\": \"float16\", \"tensor\":").toByteArray()) }
    }

    @Test
    fun `a mutant gives a file or is refused, and nothing else ever happens`() {
        for (name in listOf("nested", "nested_positions")) checkMutants(File(SharedFiles.golden, name))
    }

    private fun checkMutants(folder: File) {
        val text = File(folder, "recipe.json").readBytes()
        val refused = mutants(text, count = 3000, seed = 7).withIndex().count { (number, mutant) ->
            try {
                val recipe = readRecipe(mutant)
                NestedWeights(recipe, File(folder, "store.bin"), File(folder, "template.bin")).use { nested ->
                    for (file in recipe.files) nested.write(file, ByteArrayOutputStream())
                }
                false
            } catch (_: BundleException) {
                true
            } catch (error: Throwable) {
                throw AssertionError("mutant $number", error)
            }
        }
        assertTrue("$refused of 3000 were refused", refused in 1000..2999)
    }
}
