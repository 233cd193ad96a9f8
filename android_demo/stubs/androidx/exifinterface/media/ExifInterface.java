// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package androidx.exifinterface.media;

import java.io.IOException;
import java.io.InputStream;

public class ExifInterface {
    public static final String TAG_ORIENTATION = "Orientation";
    public static final int ORIENTATION_UNDEFINED = 0;

    public ExifInterface(InputStream inputStream) throws IOException {}

    public native int getAttributeInt(String tag, int defaultValue);
}
