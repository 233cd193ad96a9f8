// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.widget;

import android.content.Context;
import java.util.List;

public class ArrayAdapter<T> implements SpinnerAdapter {
    public ArrayAdapter(Context context, int resource, List<T> objects) {}

    public native void setDropDownViewResource(int resource);
}
