// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.content.res;

import java.io.IOException;
import java.io.InputStream;

public final class AssetManager {
    public native InputStream open(String fileName) throws IOException;
}
