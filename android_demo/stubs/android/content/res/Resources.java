// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.content.res;

import android.util.DisplayMetrics;

public class Resources {
    public native float getDimension(int id);

    public native DisplayMetrics getDisplayMetrics();
}
