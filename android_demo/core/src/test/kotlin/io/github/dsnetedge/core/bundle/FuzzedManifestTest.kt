package io.github.dsnetedge.core.bundle

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.SharedFiles
import io.github.dsnetedge.core.mutants
import java.io.File
import org.junit.Assert.assertTrue
import org.junit.Test

class FuzzedManifestTest {
    @Test
    fun `a mutant is read or refused, and nothing else ever happens`() {
        val manifests = listOf(File(SharedFiles.golden, "bundle"), File(SharedFiles.networks, "first"))
        for (folder in manifests) {
            val text = File(folder, MANIFEST_NAME).readBytes()
            val refused = mutants(text, count = 1500, seed = 9).withIndex().count { (number, mutant) ->
                try {
                    readManifest(mutant)
                    false
                } catch (_: BundleException) {
                    true
                } catch (error: Throwable) {
                    throw AssertionError("mutant $number of ${folder.name}", error)
                }
            }
            assertTrue("$refused of 1500 were refused", refused in 500..1499)
        }
    }
}
