// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package androidx.core.content;

import android.content.Context;
import java.util.concurrent.Executor;

public class ContextCompat {
    public static native Executor getMainExecutor(Context context);
}
