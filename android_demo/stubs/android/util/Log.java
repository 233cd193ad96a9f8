// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.util;

public final class Log {
    public static native int e(String tag, String msg);
}
