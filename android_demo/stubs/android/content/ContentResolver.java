// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.content;

import android.net.Uri;
import java.io.FileNotFoundException;
import java.io.InputStream;

public abstract class ContentResolver {
    public final native InputStream openInputStream(Uri uri) throws FileNotFoundException;
}
